//! What a campaign is asked to do: checked, complete, and the same for every engine of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::worker::limits::Limits;
use crate::worker::server::{Launch, Sanitizer, Variant};

/// What one campaign session is asked to do. Made from the command line in one place
/// ([`crate::cli::fuzz`]), handed to engine processes as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// `FILE.py` or `FILE.py:NAME`, the file with its absolute path.
    pub harness: String,
    /// Folders and files of seed inputs.
    pub seeds: Vec<PathBuf>,
    /// The campaign folder.
    pub out: PathBuf,
    /// Engine processes.
    pub workers: usize,
    /// Dictionaries, AFL syntax.
    pub dictionaries: Vec<PathBuf>,
    /// Wall time of one input, in milliseconds.
    pub timeout_ms: u64,
    /// Memory of one input above what the child starts with, in MiB; 0 for no limit.
    pub memory_mb: u64,
    /// Inputs that one child runs before it is replaced.
    pub runs_per_child: u64,
    /// Seconds to run.
    pub max_time: Option<f64>,
    /// Executions, of all engines together.
    pub max_execs: Option<u64>,
    /// The generator's seed; each engine adds its number.
    pub seed: u64,
    /// Edges that the map holds.
    pub map_edges: u32,
    /// The longest input, in bytes.
    pub max_len: usize,
    /// Whether tokens are gathered besides those of the dictionaries.
    pub auto_tokens: bool,
    /// Whose builds are fuzzed, in place of the ordinary ones.
    pub sanitizer: Option<Sanitizer>,
    /// Whether to tell where the time went.
    pub bench: bool,
    /// The Python interpreter.
    pub python: String,
    /// Whether the user named it.
    pub own_python: bool,
    /// The command that starts hitmap again, as a user would type it.
    pub hitmap: String,
}

impl Settings {
    /// The longest input that is made when nothing else is asked for, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// What one input may use.
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: Duration::from_millis(self.timeout_ms.max(1)),
            memory_mb: self.memory_mb,
            runs_per_child: self.runs_per_child.max(1),
        }
    }

    /// The command that goes on with the campaign, as a user would type it.
    pub fn command(&self) -> String {
        use crate::finding::save::shell_quote;
        let quoted = |path: &std::path::Path| shell_quote(&path.to_string_lossy());
        let mut words = vec![self.hitmap.clone(), "fuzz".into(), shell_quote(&self.harness)];
        words.extend(["-o".into(), quoted(&self.out)]);
        let defaults = Limits::default();
        let mut option = |given: bool, name: &str, value: String| {
            if given {
                words.extend([name.into(), value]);
            }
        };
        for seeds in &self.seeds {
            option(true, "-i", quoted(seeds));
        }
        option(self.workers > 1, "-j", self.workers.to_string());
        for dictionary in &self.dictionaries {
            option(true, "-x", quoted(dictionary));
        }
        option(u128::from(self.timeout_ms) != defaults.timeout.as_millis(), "-t", self.timeout_ms.to_string());
        option(self.memory_mb != defaults.memory_mb, "-m", self.memory_mb.to_string());
        option(self.max_len != Settings::MAX_LEN, "--max-len", self.max_len.to_string());
        if self.runs_per_child == 1 {
            option(true, "--isolation", "exec".into());
        } else {
            option(self.runs_per_child != defaults.runs_per_child, "--child-runs", self.runs_per_child.to_string());
        }
        option(self.own_python, "--python", shell_quote(&self.python));
        option(self.map_edges != hitmap_wire::region::DEFAULT_EDGES, "--map-edges", self.map_edges.to_string());
        words.extend((!self.auto_tokens).then(|| "--no-auto-tokens".into()));
        words.extend(self.sanitizer.map(|sanitizer| format!("--{}", sanitizer.name())));
        words.join(" ")
    }

    /// What `hitmap replay` takes to run an input as this campaign does, wherever the input lies.
    pub fn replay_flags(&self) -> Vec<String> {
        let mut flags = vec!["-t".into(), self.timeout_ms.to_string(), "-m".into(), self.memory_mb.to_string()];
        flags.extend(self.sanitizer.map(|sanitizer| format!("--{}", sanitizer.name())));
        flags
    }

    /// How a server is started.
    pub fn launch(&self) -> Launch {
        Launch {
            python: self.python.clone().into(),
            harness: self.harness.clone(),
            memory_mb: self.memory_mb,
            patience: Duration::from_secs(120),
            variant: self.sanitizer.map_or(Variant::Ordinary, Variant::Sanitized),
        }
    }

    /// Executions that engine number `index` may do.
    pub fn execs_of(&self, index: usize) -> Option<u64> {
        let all = self.max_execs?;
        let workers = self.workers.max(1) as u64;
        Some(all / workers + u64::from((index as u64) < all % workers))
    }
}

/// The file and the name of `FILE.py`, `FILE.py:NAME`, or a test as pytest names it, `FILE.py::Class::test`; there a
/// dot stands before the method. A colon in the name of a file or a folder is none that separates: what is
/// there as a file is the file.
pub fn split_harness(typed: &str) -> (&str, Option<String>) {
    let is_file = |path: &str| Path::new(path).is_file();
    if is_file(typed) {
        return (typed, None);
    }
    let name = |text: &str| Some(text.trim_start_matches(':').replace("::", "."));
    let colons = || typed.match_indices(':').rev().map(|(at, _)| (&typed[..at], &typed[at + 1..]));
    // Where no file is there, the message names the one that was meant.
    let meant = || colons().rfind(|(file, name)| file.ends_with(".py") && !name.contains('/'));
    let any = || typed.rsplit_once(':').filter(|(_, name)| !name.contains('/'));
    let found = colons().find(|(file, _)| is_file(file)).or_else(meant).or_else(any);
    found.map_or((typed, None), |(file, text)| (file, name(text)))
}

#[cfg(test)]
impl Settings {
    /// Settings of a test's campaign in `out`.
    pub fn for_test(out: &std::path::Path) -> Settings {
        Settings {
            harness: "/h.py".into(),
            seeds: vec![],
            out: out.into(),
            workers: 1,
            dictionaries: vec![],
            timeout_ms: 1000,
            memory_mb: 0,
            runs_per_child: Limits::default().runs_per_child,
            max_time: None,
            max_execs: None,
            seed: 7,
            map_edges: 1 << 16,
            max_len: 4096,
            auto_tokens: true,
            sanitizer: None,
            bench: false,
            python: "python3".into(),
            own_python: false,
            hitmap: "hitmap".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_what_was_not_the_default() {
        let mut settings = Settings::for_test("out dir".as_ref());
        settings.map_edges = hitmap_wire::region::DEFAULT_EDGES;
        (settings.workers, settings.timeout_ms, settings.memory_mb) = (8, 250, 2048);
        assert_eq!(settings.command(), "hitmap fuzz /h.py -o 'out dir' -j 8 -t 250");
        settings.auto_tokens = false;
        assert!(settings.command().ends_with(" -t 250 --no-auto-tokens"));
    }

    #[test]
    fn a_harness_is_split_where_its_file_ends() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a.py:b/c::d");
        std::fs::create_dir_all(&odd).unwrap();
        for file in ["h.py", "plain", "x.py:y.py"] {
            std::fs::write(odd.join(file), "").unwrap();
            let file = odd.join(file).to_str().unwrap().to_owned();
            for (rest, name) in
                [("", None), (":run", Some("run")), ("::Class::test", Some("Class.test")), (":A.f", Some("A.f"))]
            {
                let typed = format!("{file}{rest}");
                assert_eq!(split_harness(&typed), (file.as_str(), name.map(str::to_owned)), "{typed}");
            }
        }
        for (typed, file, name) in [
            ("no.py:f", "no.py", Some("f")),
            ("no.py::A::f", "no.py", Some("A.f")),
            ("a.py:b/no.py", "a.py:b/no.py", None),
            ("a.py:b/no.py:f", "a.py:b/no.py", Some("f")),
            ("no", "no", None),
        ] {
            assert_eq!(split_harness(typed), (file, name.map(str::to_owned)), "{typed}");
        }
    }

    #[test]
    fn executions_are_shared_out_without_a_rest() {
        let mut settings = Settings::for_test("/x".as_ref());
        settings.max_execs = Some(10);
        settings.workers = 3;
        assert_eq!([0, 1, 2].map(|i| settings.execs_of(i).unwrap()), [4, 3, 3]);
    }
}
