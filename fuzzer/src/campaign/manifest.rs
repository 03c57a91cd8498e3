//! `campaign.json`: what a campaign is, so that a later session takes up this one and no other.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use hitmap_observers::snapshot::ModuleId;
use hitmap_wire::identity::Identity;
use hitmap_wire::modules::Module;

use super::unix_time;
use crate::disk;
use crate::error::Failure;
use crate::settings::Settings;
use crate::trust::{self, Claim};
use crate::worker::limits::Limits;
use crate::worker::server::Sanitizer;

/// The file in a campaign's folder.
pub const FILE: &str = "campaign.json";
/// The same in the folder of a finding, which may be copied to where no campaign is.
pub const SETUP: &str = "setup.json";
const FORMAT: u32 = 1;

/// What a campaign is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file.
    pub format: u32,
    /// The hitmap that made it.
    pub hitmap: String,
    /// The harness, as `FILE.py` or `FILE.py:NAME`.
    pub harness: String,
    /// Tells the campaign from others, wherever it is copied to; see [`crate::trust`].
    #[serde(default)]
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The generator's seed.
    pub seed: u64,
    /// The interpreter.
    pub python: String,
    /// Wall time of one input, in milliseconds.
    pub timeout_ms: u64,
    /// Memory of one input, in MiB.
    pub memory_mb: u64,
    /// Edges that the map holds.
    pub map_edges: u32,
    /// Whose builds are fuzzed, when they are not the ordinary ones.
    #[serde(default)]
    pub sanitizer: Option<Sanitizer>,
    /// The instrumented libraries.
    pub modules: Vec<Build>,
    /// Builds that were loaded in this session, each with its file: (identity, path).
    #[serde(skip)]
    here: BTreeSet<(String, String)>,
}

/// One instrumented library, as built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its file name.
    pub name: String,
    /// Its build-id, hex.
    pub identity: String,
    /// Its edges.
    pub edges: u32,
    /// The file it was loaded from when it was first met; empty in campaigns that older versions began.
    #[serde(default)]
    pub path: String,
    /// Where that is below the folder that it is imported from, as far as the path alone does not say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub below: String,
}

impl Build {
    /// What is kept of a module.
    pub fn of(module: &Module) -> Build {
        let ModuleId { name, path, below, identity, edges, .. } = ModuleId::from(module);
        Build { name, identity: identity.to_string(), edges, path, below }
    }

    /// What names the library, whichever build; the identity is not compared.
    fn library(&self) -> ModuleId {
        let (name, path, below) = (self.name.clone(), self.path.clone(), self.below.clone());
        ModuleId { identity: Identity::new(&[]), kind: 0, edges: self.edges, name, path, below }
    }
}

impl Manifest {
    /// The manifest of a new campaign.
    pub fn new(settings: &Settings) -> Manifest {
        Manifest {
            format: FORMAT,
            hitmap: env!("CARGO_PKG_VERSION").into(),
            harness: settings.harness.clone(),
            id: trust::fresh_id(),
            created: unix_time(),
            seed: settings.seed,
            python: settings.python.clone(),
            timeout_ms: settings.timeout_ms,
            memory_mb: settings.memory_mb,
            map_edges: settings.map_edges,
            sanitizer: settings.sanitizer,
            modules: Vec::new(),
            here: BTreeSet::new(),
        }
    }

    /// The manifest of an input that no campaign is known of.
    pub fn bare() -> Manifest {
        let limits = Limits::default();
        Manifest {
            format: FORMAT,
            hitmap: env!("CARGO_PKG_VERSION").into(),
            harness: String::new(),
            id: String::new(),
            created: unix_time(),
            seed: 0,
            python: String::new(),
            timeout_ms: limits.timeout.as_millis() as u64,
            memory_mb: limits.memory_mb,
            map_edges: hitmap_wire::region::DEFAULT_EDGES,
            sanitizer: None,
            modules: Vec::new(),
            here: BTreeSet::new(),
        }
    }

    /// Reads the manifest of the campaign in `out`; `None` when there is no campaign yet.
    ///
    /// # Errors
    /// When `out` holds something else, or a manifest that cannot be used.
    pub fn open(out: &Path) -> Result<Option<Manifest>, Failure> {
        let path = out.join(FILE);
        match disk::read(&path, disk::LONGEST_TEXT) {
            Ok(text) => Self::of_text(&path, &text).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Self::absent(out).map(|()| None),
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                Err(Failure::usage(format!("{}: not a folder; name another with -o", out.display())))
            }
            Err(e) => Err(Failure::disk("cannot read")(e)),
        }
    }

    /// Reads a manifest file, of a campaign or of a finding; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read(path: &Path) -> Result<Option<Manifest>, Failure> {
        match disk::read(path, disk::LONGEST_TEXT) {
            Ok(text) => Self::of_text(path, &text).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Failure::disk("cannot read")(e)),
        }
    }

    fn of_text(path: &Path, text: &[u8]) -> Result<Manifest, Failure> {
        let manifest: Manifest = serde_json::from_slice(text).map_err(|e| {
            Failure::usage(format!("{}: not a hitmap campaign ({e}); name another folder with -o", path.display()))
        })?;
        if manifest.format != FORMAT {
            return Err(Failure::usage(format!(
                "{}: made by hitmap {} in format {}, this one reads format {FORMAT}; start anew with another -o",
                path.display(),
                manifest.hitmap,
                manifest.format
            )));
        }
        Ok(manifest)
    }

    /// The file's text.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_text(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec_pretty(self).map_err(|e| Failure::internal(e.to_string()))
    }

    /// Takes out what only the campaign's own machine knows. What tells its libraries from others stays.
    pub fn leave_machine(&mut self) {
        self.id = String::new();
        self.python = String::new();
        for build in &mut self.modules {
            let library = build.library();
            build.below = if library.label() == library.name { String::new() } else { library.label().to_owned() };
            build.path = String::new();
        }
    }

    /// What `hitmap replay` takes to run an input as the campaign does, wherever the input lies.
    pub fn replay_flags(&self) -> Vec<String> {
        let mut flags = vec!["-t".into(), self.timeout_ms.to_string(), "-m".into(), self.memory_mb.to_string()];
        flags.extend(self.sanitizer.map(|sanitizer| format!("--{}", sanitizer.name())));
        flags
    }

    fn absent(out: &Path) -> Result<(), Failure> {
        match std::fs::read_dir(out) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Failure::file("cannot use", out)(e)),
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => Err(Failure::usage(format!(
                    "{}: neither empty nor a hitmap campaign, which has a {FILE}; name another folder with -o",
                    out.display()
                ))),
            },
        }
    }

    /// Whether a session with these settings may take the campaign up.
    ///
    /// # Errors
    /// When the harness is another one.
    pub fn check(&self, settings: &Settings) -> Result<(), Failure> {
        if self.harness == settings.harness {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{}: a campaign of {}, not of {}; name another folder with -o",
            settings.out.display(),
            self.harness,
            settings.harness
        )))
    }

    /// Whether each of `modules` is a build that the campaign knows, or a library that it has not met.
    ///
    /// # Errors
    /// When one is another build of a library that the campaign knows.
    pub fn check_builds<'a>(
        &mut self,
        out: &Path,
        modules: impl IntoIterator<Item = &'a Module>,
    ) -> Result<(), Failure> {
        let is_known = |manifest: &Manifest, now: &Build| manifest.modules.iter().any(|b| b.identity == now.identity);
        let mut new = Vec::new();
        for module in modules {
            let now = Build::of(module);
            let known = is_known(self, &now);
            if module.load_bias != 0 || !known {
                self.here.insert((now.identity.clone(), now.path.clone()));
            }
            if !known {
                new.push(now);
            }
        }
        match new.iter().find_map(|now| Some((now, self.replaced_by(now)?))) {
            None => Ok(()),
            Some((now, before)) => Err(Failure::usage(format!(
                "{}: a campaign of another build of {}: it began with {}, now it is {} ({}); \
                 its edges cannot be compared, so start anew with another -o (and -i {} to keep the inputs)",
                out.display(),
                now.library().label(),
                before.identity,
                now.identity,
                now.path,
                out.join("w0/queue").display()
            ))),
        }
    }

    /// The build in whose place `now` is: of the same library, and not in use beside it from another file.
    fn replaced_by(&self, now: &Build) -> Option<&Build> {
        let library = now.library();
        let beside =
            |before: &Build| self.here.iter().any(|(identity, path)| *identity == before.identity && *path != now.path);
        self.modules.iter().find(|before| before.library().is_same_library(&library) && !beside(before))
    }

    /// Takes over the libraries that another engine of the campaign has met.
    pub fn take_builds(&mut self, saved: Manifest) {
        for build in saved.modules {
            self.add_build(build);
        }
    }

    fn add_build(&mut self, build: Build) {
        let is_same = |known: &Build| (&known.identity, known.edges) == (&build.identity, build.edges);
        if !self.modules.iter().any(is_same) {
            self.modules.push(build);
        }
    }

    /// Whether the campaign in `out` has a manifest.
    pub fn is_saved(&self, out: &Path) -> bool {
        out.join(FILE).exists()
    }

    /// Takes over the limits of this session, so that its findings are replayed under them.
    pub fn take_limits(&mut self, settings: &Settings) {
        // Campaigns of earlier versions have none.
        if self.id.is_empty() {
            self.id = trust::fresh_id();
        }
        self.python = settings.python.clone();
        self.timeout_ms = settings.timeout_ms;
        self.memory_mb = settings.memory_mb;
        self.map_edges = self.map_edges.max(settings.map_edges);
    }

    /// What the campaign would have run.
    pub fn claim(&self) -> Claim {
        Claim { id: self.id.clone(), harness: self.harness.clone(), python: self.python.clone() }
    }

    /// Adds libraries that are new; says whether any was.
    pub fn add_builds<'a>(&mut self, modules: impl IntoIterator<Item = &'a Module>) -> bool {
        let before = self.modules.len();
        for build in modules.into_iter().map(Build::of) {
            self.add_build(build);
        }
        self.modules.len() > before
    }

    /// Writes it into `out`, which is made if need be.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, out: &Path) -> Result<(), Failure> {
        let refuse = |e| Failure::usage(format!("cannot write to {}: {e}; name another folder with -o", out.display()));
        std::fs::create_dir_all(out).map_err(refuse)?;
        let text = self.to_text()?;
        let refuse = |e| Failure::usage(format!("cannot write to {}: {e}; name another folder with -o", out.display()));
        disk::replace(&out.join(FILE), &text).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, identity: &[u8]) -> Module {
        at(&format!("/x/{name}"), identity)
    }

    fn at(path: &str, identity: &[u8]) -> Module {
        Module {
            identity: Identity::new(identity),
            path: path.into(),
            kind: 3,
            base: 4096,
            edges: 9,
            load_bias: 0,
            pc_table: 0,
        }
    }

    #[test]
    fn a_campaign_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        assert_eq!(Manifest::open(&out).unwrap(), None);
        let manifest = Manifest::new(&Settings::for_test(&out));
        manifest.save(&out).unwrap();
        assert_eq!(Manifest::open(&out).unwrap(), Some(manifest));
    }

    #[test]
    fn foreign_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        let refused = Manifest::open(folder.path()).unwrap_err();
        assert!(refused.message.contains("nor a hitmap campaign"), "{refused}");
        std::fs::write(folder.path().join(FILE), "{}").unwrap();
        assert!(Manifest::open(folder.path()).is_err());
    }

    #[test]
    fn another_build_is_refused_by_name() {
        let settings = Settings::for_test("/o".as_ref());
        let mut manifest = Manifest::new(&settings);
        assert!(manifest.add_builds(&[module("a.so", &[1])]));
        assert!(!manifest.add_builds(&[module("a.so", &[1])]));
        assert!(manifest.check_builds(&settings.out, &[module("a.so", &[1]), module("b.so", &[9])]).is_ok());
        let refused = manifest.check_builds(&settings.out, &[module("a.so", &[2])]).unwrap_err();
        assert!(refused.message.contains("began with 01, now it is 02"), "{refused}");
    }

    #[test]
    fn a_manifest_that_leaves_its_machine_keeps_what_tells_libraries_apart() {
        let out = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::new(&Settings::for_test(out.path()));
        manifest.add_builds(&[at("/opt/me/lib/site-packages/pa/_core.so", &[1]), at("/opt/me/b.so", &[2])]);
        let labels = |manifest: &Manifest| -> Vec<String> {
            manifest.modules.iter().map(|build| build.library().label().to_owned()).collect()
        };
        let before = labels(&manifest);
        assert_eq!(before, ["pa/_core.so", "b.so"]);
        manifest.leave_machine();
        assert_eq!(labels(&manifest), before);
        assert!(!String::from_utf8(manifest.to_text().unwrap()).unwrap().contains("/opt/me"));
        assert_eq!(manifest.modules[0].identity, "01");
    }

    #[test]
    fn a_library_is_more_than_its_last_name() {
        const OLD: &str = "/old/lib/python3.11/site-packages";
        const NEW: &str = "/new/lib/python3.12/site-packages";
        // What the campaign has met, what is loaded now, and whose build is refused.
        type Libraries = [(&'static str, u8)];
        let table: &[(&str, &Libraries, &Libraries, Option<&str>)] = &[
            ("nothing changed", &[("/x/pa/_core.so", 1)], &[("/x/pa/_core.so", 1)], None),
            ("rebuilt at the same place", &[("/x/pa/_core.so", 1)], &[("/x/pa/_core.so", 2)], Some("_core.so")),
            (
                "another of the same name, imported late",
                &[("site/pa/_core.so", 1)],
                &[("site/pa/_core.so", 1), ("site/pb/_core.so", 2)],
                None,
            ),
            (
                "another of the same name, in a folder that is no package",
                &[("/x/pa/_core.so", 1)],
                &[("/x/pa/_core.so", 1), ("/x/pb/_core.so", 2)],
                None,
            ),
            (
                "the late one was rebuilt",
                &[("site/pa/_core.so", 1), ("site/pb/_core.so", 2)],
                &[("site/pa/_core.so", 1), ("site/pb/_core.so", 3)],
                Some("pb/_core.so"),
            ),
            (
                "the late one was rebuilt and the first is not loaded",
                &[("site/pa/_core.so", 1), ("site/pb/_core.so", 2)],
                &[("site/pb/_core.so", 3)],
                Some("pb/_core.so"),
            ),
            (
                "another virtual environment with the same builds",
                &[("site/pa/_core.so", 1), ("site/pb/_core.so", 2)],
                &[("new/pa/_core.so", 1), ("new/pb/_core.so", 2)],
                None,
            ),
            (
                "another virtual environment with another build",
                &[("site/pa/_core.so", 1), ("site/pb/_core.so", 2)],
                &[("new/pa/_core.so", 1), ("new/pb/_core.so", 3)],
                Some("pb/_core.so"),
            ),
            (
                "another Python",
                &[("site/pa/_core.cpython-311-x86_64-linux-gnu.so", 1)],
                &[("new/pa/_core.cpython-312-x86_64-linux-gnu.so", 2)],
                Some("pa/_core.cpython-312-x86_64-linux-gnu.so"),
            ),
            ("copies", &[("/x/one/a.so", 1)], &[("/x/one/a.so", 1), ("/x/two/a.so", 1)], None),
            ("two builds at once", &[("/x/one/a.so", 1)], &[("/x/one/a.so", 1), ("/x/two/a.so", 2)], None),
            ("a library more", &[("/x/a.so", 1)], &[("/x/a.so", 1), ("/x/b.so", 2)], None),
        ];
        let module = |(path, build): &(&str, u8)| {
            let path = path.replace("site/", &format!("{OLD}/")).replace("new/", &format!("{NEW}/"));
            Module { load_bias: 0x1000, ..at(&path, &[*build]) }
        };
        let out = Path::new("/o");
        for (what, before, now, refused) in table {
            let mut campaign = Manifest::new(&Settings::for_test(out));
            campaign.add_builds(&before.iter().map(module).collect::<Vec<_>>());
            // The next session reads it from its file.
            let mut campaign: Manifest = serde_json::from_value(serde_json::to_value(&campaign).unwrap()).unwrap();
            let checked = campaign.check_builds(out, &now.iter().map(module).collect::<Vec<_>>());
            match (checked, refused) {
                (Ok(()), None) => {}
                (Err(error), Some(name)) => assert!(error.message.contains(&format!("build of {name}:")), "{error}"),
                (checked, _) => panic!("{what}: {checked:?}"),
            }
        }
    }

    #[test]
    fn campaigns_of_older_versions_are_taken_up() {
        let mut saved = serde_json::to_value(Manifest::new(&Settings::for_test("/o".as_ref()))).unwrap();
        saved["modules"] = serde_json::json!([{"name": "a.so", "identity": "01", "edges": 9}]);
        let mut campaign: Manifest = serde_json::from_value(saved).unwrap();
        campaign.check_builds("/o".as_ref(), &[module("a.so", &[1])]).unwrap();
        assert!(!campaign.add_builds(&[module("a.so", &[1])]));
        assert!(campaign.check_builds("/o".as_ref(), &[module("a.so", &[2])]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_manifest_is_safe(bytes: Vec<u8>) {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE), bytes).unwrap();
            let _ = Manifest::open(folder.path());
        }
    }
}
