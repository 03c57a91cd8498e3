//! Where an input comes from, what it brings along, and how much of that is run.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use hitmap_wire::modules::Module;

use super::fuzz::absolute_harness;
use super::inputs::Input;
use crate::campaign::manifest::{Build, FILE, Manifest, SETUP};
use crate::error::Failure;
use crate::print;
use crate::trust::Made;

/// The campaign of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// What the campaign, or the finding, says of itself.
    pub manifest: Manifest,
    /// The folder that says so.
    pub folder: PathBuf,
}

impl Origin {
    /// That of an input: the nearest folder above it with a `campaign.json`, or the finding's own `setup.json`
    /// where it was copied away from that campaign.
    ///
    /// # Errors
    /// When the input is not there, or what is said of it cannot be read.
    pub fn of(input: &Path) -> Result<Option<Origin>, Failure> {
        let input = std::fs::canonicalize(input).map_err(Failure::file("cannot read", input))?;
        let read = |folder: &Path, name: &str| -> Result<Option<Origin>, Failure> {
            let manifest = Manifest::read(&folder.join(name))?;
            Ok(manifest.map(|manifest| Origin { manifest, folder: folder.to_owned() }))
        };
        let own = input.parent().map_or(Ok(None), |folder| read(folder, SETUP))?;
        let mut above = input.ancestors().skip(1).filter(|folder| folder.join(FILE).symlink_metadata().is_ok());
        let above = above.next().map_or(Ok(None), |folder| read(folder, FILE))?;
        Ok(match (own, above) {
            (Some(own), Some(above)) if own.manifest.id == above.manifest.id => Some(above),
            (Some(own), _) => Some(own),
            (None, above) => above,
        })
    }

    /// That of all inputs, which must be of one campaign unless a harness was named for all.
    ///
    /// # Errors
    /// As [`Origin::of`], and when they are of several.
    pub fn of_all(inputs: &[Input], any: bool) -> Result<Option<Origin>, Failure> {
        let first = Origin::of(&inputs[0].path)?;
        let mut known = HashSet::from([inputs[0].path.parent()]);
        for input in inputs.iter().filter(|_| !any) {
            if known.insert(input.path.parent()) && !same(Origin::of(&input.path)?.as_ref(), first.as_ref()) {
                return Err(Failure::usage(format!(
                    "{}: of another campaign than {}; replay them one after the other, or name a --harness for all",
                    input.shown.display(),
                    inputs[0].shown.display()
                )));
            }
        }
        Ok(first)
    }

    /// The harness, with an absolute path. That of an exported finding lies beside it.
    fn harness(&self) -> String {
        match Path::new(&self.manifest.harness) {
            harness if harness.is_absolute() => self.manifest.harness.clone(),
            harness => self.folder.join(harness).to_string_lossy().into_owned(),
        }
    }
}

/// Whether inputs run alike: several findings of one campaign may have been copied away from it.
fn same(one: Option<&Origin>, other: Option<&Origin>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one == other || (!one.manifest.id.is_empty() && one.manifest.id == other.manifest.id)
        }
        (None, None) => true,
        _ => false,
    }
}

/// What is run.
#[derive(Debug)]
pub struct Chosen {
    /// The harness.
    pub harness: String,
    /// The campaign's interpreter, if that may be run.
    pub python: Option<String>,
}

impl Chosen {
    /// The harness that was typed, else the campaign's. A campaign that this user has not made here is data: what
    /// it would have run is run only by `--trust`.
    ///
    /// # Errors
    /// When there is no harness, or the only one is a stranger's. `shown` is the first input's name.
    pub fn of(typed: Option<&str>, origin: Option<&Origin>, trust: bool, shown: &Path) -> Result<Chosen, Failure> {
        let ours = origin.map_or(Ok(false), |o| Made::by_this_user().and_then(|made| made.has(&o.manifest.claim())));
        let is_trusted = trust || ours == Ok(true);
        // An exported finding names no interpreter.
        let named = origin.map(|origin| origin.manifest.python.clone()).filter(|python| !python.is_empty());
        let python = named.filter(|_| is_trusted);
        match (typed, origin) {
            (Some(typed), _) => Ok(Chosen { harness: absolute_harness(typed)?, python }),
            (None, Some(origin)) if is_trusted => Ok(Chosen { harness: origin.harness(), python }),
            (None, Some(origin)) => {
                let with = match origin.manifest.python.as_str() {
                    "" => String::new(),
                    python => format!(", with {python}"),
                };
                let why = ours.err().map(|why| format!(" ({why})")).unwrap_or_default();
                Err(Failure::usage(format!(
                    "{}: this is not from a campaign that you made on this machine{why}, and replaying it would run {}{with}; \
                     look at that, then say --trust, or name your own --harness HARNESS.py",
                    shown.display(),
                    origin.harness(),
                )))
            }
            (None, None) => Err(Failure::usage(format!(
                "{}: not in a campaign folder; name the harness with --harness HARNESS.py",
                shown.display()
            ))),
        }
    }
}

/// The builds of the libraries that an input was kept with.
pub struct Builds<'a> {
    kept: HashMap<&'a str, Vec<&'a Build>>,
    told: HashSet<String>,
}

impl Builds<'_> {
    /// Those of a campaign.
    pub fn of(manifest: &Manifest) -> Builds<'_> {
        let mut kept: HashMap<&str, Vec<&Build>> = HashMap::new();
        manifest.modules.iter().for_each(|build| kept.entry(&build.name).or_default().push(build));
        Builds { kept, told: HashSet::new() }
    }

    /// Says, once for each library, that it is another build now: the input may end in another way.
    pub fn compare(&mut self, modules: &[Module]) {
        for now in modules.iter().map(Build::of) {
            let Some(then) = self.kept.get(now.name.as_str()) else { continue };
            if then.iter().all(|build| build.identity != now.identity) && self.told.insert(now.name.clone()) {
                print::remark(format_args!(
                    "note: {} is build {} here and was {} in the campaign: an input may end in another way",
                    now.name, now.identity, then[0].identity
                ));
            }
        }
    }
}
