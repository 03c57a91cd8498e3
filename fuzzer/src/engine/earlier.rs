//! What earlier sessions found, before anything else runs: findings that are damaged, half written, or named by an
//! older rule are put right.
//!
//! One engine does it, so each input runs once.

use std::path::Path;

use libafl::state::HasExecutions;

use super::driver::{Engine, broken};
use super::stage::Acts;
use crate::disk;
use crate::error::Failure;
use crate::finding::report::Report;
use crate::launcher::screen::counted;

/// Findings of one session that are run again. What is left is for the next one.
const MOST: usize = 500;
/// Fresh children that one input gets when somebody else ends them.
const TRIES: usize = 3;

impl Engine {
    /// Puts right what earlier sessions left of findings, within `budget` executions.
    ///
    /// # Errors
    /// When the worker cannot go on, or a file cannot be written.
    pub fn take_up_findings(&mut self, budget: Option<u64>) -> Result<(), Failure> {
        for (left, input) in self.stages.0.acts.recover_findings() {
            self.evaluate(input)?;
            // What cannot be removed is run again next time.
            let _ = std::fs::remove_dir_all(left);
        }
        let known = self.stages.0.acts.known_findings().map_err(broken)?;
        let (damaged, old): (Vec<Report>, Vec<Report>) =
            known.into_iter().filter(Report::is_stale).partition(|finding| finding.damage.is_some());
        if !old.is_empty() {
            self.stages.0.acts.tell(format!(
                "an earlier version of hitmap named {}; each is run again, and keeps its folder",
                counted(old.len(), "finding")
            ));
        }
        for finding in damaged.into_iter().chain(old).take(MOST) {
            if self.stages.0.acts.must_stop() || budget.is_some_and(|most| *self.state.executions() >= most) {
                break;
            }
            self.renew(finding)?;
        }
        self.stages.0.acts.complete_copies().map_err(broken)
    }

    fn renew(&mut self, finding: Report) -> Result<(), Failure> {
        let input = disk::read(Path::new(&finding.input), disk::LONGEST_INPUT);
        if let Some(damage) = &finding.damage {
            let remedy = match &input {
                Ok(_) => "its input is run again, and the report written anew".into(),
                Err(error) => format!("its input cannot be read either ({error}), so move the folder away"),
            };
            self.stages.0.acts.tell(format!("{damage}; {remedy}"));
        }
        let Ok(input) = input else { return Ok(()) };
        let mut hits = Vec::new();
        for attempt in 1..=TRIES {
            *self.state.executions_mut() += 1;
            let seen = self.executor.worker().observe(&input, true, &mut hits)?.evidence;
            let seen = seen.as_deref();
            if let Some(killed) = seen.filter(|evidence| evidence.is_from_outside()) {
                let may_be = finding.damage.is_some() || finding.signal == killed.signal;
                if attempt < TRIES || !may_be {
                    continue;
                }
            }
            let modules = self.executor.worker().modules().to_vec();
            self.stages.0.acts.renew(finding, seen, &hits, &modules).map_err(broken)?;
            seen.into_iter().for_each(|evidence| self.executor.worker().learn(evidence));
            break;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::engine::comparisons::Replacing;
    use crate::engine::driver::tests::{maze, open, session};
    use crate::finding::kept::all;
    use crate::finding::report::SIGNATURE_VERSION;
    use crate::worker::Worker;
    use crate::worker::mock::{Does, MockWorker};
    use hitmap_wire::outcome::Outcome;

    fn calm(_: &[u8]) -> Does {
        (vec![(4096, 1)], Outcome::Ok)
    }

    /// Takes up what is there with a target; gives the executions that it took.
    fn take_up(out: &Path, target: fn(&[u8]) -> Does) -> u64 {
        let worker: Box<dyn Worker> = Box::new(MockWorker::new(target, vec![64]));
        let mut engine = open(out, worker, Replacing::absent(), 1000, false);
        let before = *engine.state.executions();
        engine.take_up_findings(None).unwrap();
        engine.state.executions() - before
    }

    /// A campaign that found a crash and an exception.
    fn campaign() -> tempfile::TempDir {
        let out = tempfile::tempdir().unwrap();
        session(out.path(), vec![64], 300_000, false);
        assert_eq!(found(out.path()).len(), 2);
        out
    }

    fn found(out: &Path) -> Vec<Report> {
        all(&out.join("findings"), "hitmap").unwrap()
    }

    fn files(out: &Path, pattern: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(out.join(pattern)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Writes into a report what an older version had there.
    fn age(finding: &Report, signature: &str) {
        let path = Path::new(&finding.input).with_file_name("report.json");
        let mut report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let fields = report.as_object_mut().unwrap();
        fields.remove("signature_version");
        fields["signature"] = signature.into();
        fields["title"] = "as it was called once".into();
        std::fs::write(path, report.to_string()).unwrap();
    }

    #[test]
    fn nothing_is_run_when_all_is_well() {
        let out = campaign();
        let before = found(out.path());
        assert_eq!(take_up(out.path(), maze), 0);
        assert_eq!(found(out.path()), before);
    }

    #[test]
    fn what_an_older_rule_named_keeps_its_folder_and_is_not_found_anew() {
        let out = campaign();
        let (now, folders) = (found(out.path()), files(out.path(), "findings"));
        now.iter().for_each(|finding| age(finding, "00000000000000aa"));
        assert_eq!(take_up(out.path(), maze), 2);
        assert_eq!(found(out.path()), now);
        now.iter().for_each(|finding| age(finding, "00000000000000aa"));
        // Folders are called as the older rule had them.
        for (at, folder) in folders.iter().enumerate() {
            std::fs::rename(folder, folder.with_file_name(format!("signal-{at:016x}"))).unwrap();
        }
        take_up(out.path(), maze);
        let names = |found: &[Report]| found.iter().map(|f| (f.kind.clone(), f.signature.clone())).collect::<Vec<_>>();
        assert_eq!(names(&found(out.path())), names(&now));
        session(out.path(), vec![64], 300_000, false);
        assert_eq!(found(out.path()).len(), 2, "the same bugs are the same findings");
    }

    #[test]
    fn two_folders_of_one_bug_both_stay() {
        let out = campaign();
        let now = found(out.path());
        let folder = Path::new(&now[0].input).parent().unwrap().to_owned();
        let twin = folder.with_file_name("exception-0000000000000001");
        std::fs::create_dir(&twin).unwrap();
        for file in files(&folder, "") {
            std::fs::copy(&file, twin.join(file.file_name().unwrap())).unwrap();
        }
        let all = found(out.path());
        assert_eq!(all.len(), 3);
        all.iter().for_each(|finding| age(finding, "0000000000000001"));
        assert_eq!(take_up(out.path(), maze), 3);
        assert_eq!(found(out.path()).iter().filter(|found| found.is_of(&now[0])).count(), 2);
    }

    #[test]
    fn what_does_not_come_back_keeps_its_name_and_is_tried_once() {
        let out = campaign();
        found(out.path()).iter().for_each(|finding| age(finding, "00000000000000aa"));
        assert_eq!(take_up(out.path(), calm), 2);
        for finding in found(out.path()) {
            assert_eq!((finding.signature.as_str(), finding.signature_version), ("00000000000000aa", 1));
            assert_eq!((finding.title.as_str(), finding.tried_version), ("as it was called once", SIGNATURE_VERSION));
        }
        assert_eq!(take_up(out.path(), calm), 0);
    }

    #[test]
    fn a_damaged_report_is_written_anew() {
        let out = campaign();
        let now = found(out.path());
        for damage in ["", "{", "[1]"] {
            for finding in &now {
                std::fs::write(Path::new(&finding.input).with_file_name("report.json"), damage).unwrap();
            }
            assert_eq!(take_up(out.path(), maze), 2);
            for (renewed, before) in found(out.path()).into_iter().zip(&now) {
                assert_eq!((&renewed.title, &renewed.signature), (&before.title, &before.signature));
                assert_eq!((renewed.reproduces, renewed.damage, renewed.input_len), (true, None, before.input_len));
            }
        }
        for finding in &now {
            std::fs::remove_file(Path::new(&finding.input).with_file_name("report.json")).unwrap();
        }
        assert_eq!(take_up(out.path(), calm), 2);
        let renewed = found(out.path());
        assert!(renewed.iter().all(|finding| !finding.reproduces && finding.damage.is_none()), "{renewed:?}");
        assert_eq!(take_up(out.path(), maze), 0);
    }

    #[test]
    fn a_finding_without_a_copy_gets_one() {
        let out = campaign();
        let copies = files(out.path(), "w0/crashes");
        let content = |path: &PathBuf| std::fs::read(path).unwrap();
        let before: std::collections::BTreeSet<Vec<u8>> = copies.iter().map(content).collect();
        for copy in copies.iter().filter(|path| path.to_string_lossy().contains("id:")) {
            std::fs::remove_file(copy).unwrap();
        }
        for _ in 0..2 {
            take_up(out.path(), maze);
            assert_eq!(
                files(out.path(), "w0/crashes").iter().map(content).collect::<std::collections::BTreeSet<_>>(),
                before
            );
            assert_eq!(files(out.path(), "w0/crashes").len(), copies.len());
        }
    }

    #[test]
    fn what_a_killed_engine_was_writing_is_taken_up() {
        let out = campaign();
        let now = found(out.path());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        for (damage, runs) in [(None, 0), (Some("{"), 1)] {
            for finding in &now {
                let folder = Path::new(&finding.input).parent().unwrap();
                if let Some(damage) = damage {
                    std::fs::write(folder.join("report.json"), damage).unwrap();
                }
                let left = format!(".making-{}-{}-{}", child.id(), finding.kind, finding.signature);
                std::fs::rename(folder, folder.with_file_name(left)).unwrap();
            }
            assert!(take_up(out.path(), maze) >= 2 * runs);
            let names = |found: &[Report]| found.iter().map(|f| f.signature.clone()).collect::<Vec<_>>();
            assert_eq!(names(&found(out.path())), names(&now));
            assert_eq!(files(out.path(), "findings").len(), 2, "nothing is left over");
        }
    }
}
