//! The findings that a campaign has: listed, and found again by their signatures.
//!
//! A finding whose report is damaged is one all the same: its folder's name says which, and its input is there to be
//! run again. A finding keeps its folder when a newer rule gives it another signature, so the report decides.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hitmap_wire::outcome::Outcome;

use super::report::Report;
use super::save::replay;
use crate::disk;

/// Every finding of a campaign, by folder name, with the paths of where it lies now: campaigns are copied and
/// renamed. [`Report::damage`] says which reports cannot be read.
///
/// # Errors
/// What the file system reports of the folder itself; that it is not there is no error.
pub fn all(findings: &Path, hitmap: &str) -> io::Result<Vec<Report>> {
    Ok(folders(findings)?.iter().filter_map(|folder| one(folder, hitmap)).collect())
}

/// The finding in a folder; `None` when the folder is none of a finding.
pub fn one(folder: &Path, hitmap: &str) -> Option<Report> {
    let input = folder.join("input");
    let mut report = match read(folder) {
        Ok(report) => report,
        Err(damage) => Report {
            title: "not known, because its report.json is damaged".into(),
            signature_version: 1,
            input_len: input.metadata().map_or(0, |about| about.len() as usize),
            damage: Some(damage.to_string()),
            ..named(folder)?
        },
    };
    report.input = input.to_string_lossy().into_owned();
    report.replay = replay(hitmap, &report.input);
    Some(report)
}

/// What [`all`] passes over, a sentence each: what has no readable report, nor a finding's name.
pub fn unlisted(findings: &Path) -> Vec<String> {
    let folders = folders(findings).unwrap_or_default();
    let errors = folders.iter().filter(|folder| named(folder).is_none()).filter_map(|folder| read(folder).err());
    errors
        .map(|error| format!("a finding is not listed: {error}; move its folder away, and it can be found anew"))
        .collect()
}

/// Where findings lie, in the order of their names.
///
/// # Errors
/// What the file system reports of the folder itself; that it is not there is no error.
pub fn folders(findings: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(findings) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    folders.retain(|folder| !folder.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    folders.sort();
    Ok(folders)
}

/// A finding's report as it stands in its file.
///
/// # Errors
/// Names the path: what the system reports, or why it is none.
pub fn read(folder: &Path) -> io::Result<Report> {
    let path = folder.join("report.json");
    let text = disk::read(&path, disk::LONGEST_TEXT)?;
    serde_json::from_slice(&text).map_err(|error| disk::at(&path)(error.into()))
}

/// What the name of a finding's folder says; `None` when it is not named like one.
fn named(folder: &Path) -> Option<Report> {
    let name = folder.file_name()?.to_str()?;
    let (kind, signature) = name.split_once('-')?;
    let is_kind = Outcome::ALL.iter().any(|outcome| outcome.is_finding() && outcome.word() == kind);
    let is_signature = signature.len() == 16 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_kind && is_signature && folder.is_dir()).then(|| Report {
        kind: kind.into(),
        signature: signature.into(),
        ..Report::default()
    })
}

/// Finds findings by their signatures, and reads each report once.
#[derive(Debug)]
pub struct Index {
    findings: PathBuf,
    /// What was read, and of which version of the file.
    read: HashMap<PathBuf, (Stamp, String, String)>,
}

type Stamp = (i64, i64, u64);

fn stamp(about: &Metadata) -> Stamp {
    (about.mtime(), about.mtime_nsec(), about.size())
}

impl Index {
    /// Of the findings in a folder.
    pub fn new(findings: PathBuf) -> Index {
        Index { findings, read: HashMap::new() }
    }

    /// The folder of all findings.
    pub fn findings(&self) -> &Path {
        &self.findings
    }

    /// Where a finding of this kind and signature has its folder, or would have it.
    pub fn folder_of(&self, report: &Report) -> PathBuf {
        self.findings.join(format!("{}-{}", report.kind, report.signature))
    }

    /// Where a finding of this kind and signature lies, whatever its folder is called.
    pub fn find(&mut self, report: &Report) -> Option<PathBuf> {
        let folder = self.folder_of(report);
        if folder.exists() {
            return Some(folder);
        }
        let folders = folders(&self.findings).unwrap_or_default();
        folders.into_iter().find(|folder| self.is_of(folder, report))
    }

    fn is_of(&mut self, folder: &Path, report: &Report) -> bool {
        let Ok(about) = folder.join("report.json").metadata() else { return false };
        let known = self.read.get(folder).filter(|(read, ..)| *read == stamp(&about));
        if known.is_none() {
            let found = read(folder).unwrap_or_default();
            self.read.insert(folder.into(), (stamp(&about), found.kind, found.signature));
        }
        let (_, kind, signature) = &self.read[folder];
        (kind, signature) == (&report.kind, &report.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(findings: &Path, folder: &str, report: &str) -> PathBuf {
        let folder = findings.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("input"), b"one").unwrap();
        std::fs::write(folder.join("report.json"), report).unwrap();
        folder
    }

    fn report(kind: &str, signature: &str) -> Report {
        Report { kind: kind.into(), signature: signature.into(), ..Report::default() }
    }

    fn text(kind: &str, signature: &str) -> String {
        serde_json::to_string(&report(kind, signature)).unwrap()
    }

    const NAME: &str = "signal-00112233445566ff";

    /// What a damaged finding is listed as.
    fn check(damage: impl Fn(&Path)) {
        let findings = tempfile::tempdir().unwrap();
        let folder = finding(findings.path(), NAME, &text("signal", "00112233445566ff"));
        damage(&folder);
        let [found] = all(findings.path(), "hitmap").unwrap().try_into().unwrap();
        assert_eq!((found.kind.as_str(), found.signature.as_str()), ("signal", "00112233445566ff"));
        assert_eq!((found.input_len, found.damage.is_some()), (3, true));
        assert_eq!(found.replay, format!("hitmap replay {}", folder.join("input").display()));
    }

    #[test]
    fn a_damaged_report_hides_no_finding() {
        check(|folder| std::fs::remove_file(folder.join("report.json")).unwrap());
        for content in ["", "{", "[]", "{\"kind\": 5}", "\0\0\0"] {
            check(|folder| std::fs::write(folder.join("report.json"), content).unwrap());
        }
        check(|folder| {
            std::fs::remove_file(folder.join("report.json")).unwrap();
            std::fs::create_dir(folder.join("report.json")).unwrap();
        });
    }

    #[test]
    fn what_is_no_finding_is_not_listed() {
        let findings = tempfile::tempdir().unwrap();
        for name in ["notes", "signal-xyz", "ok-00112233445566ff", ".making-1-aa"] {
            std::fs::create_dir(findings.path().join(name)).unwrap();
        }
        std::fs::write(findings.path().join(NAME), b"a file").unwrap();
        assert_eq!(all(findings.path(), "hitmap").unwrap(), []);
        assert_eq!(all(&findings.path().join("absent"), "hitmap").unwrap(), []);
        let said = unlisted(findings.path());
        let of = |name: &str| said.iter().filter(|said| said.contains(&format!("{name}/report.json: "))).count();
        assert_eq!([NAME, "notes", "ok-00112233445566ff", "signal-xyz", ".making-1-aa"].map(of), [1, 1, 1, 1, 0]);
        assert_eq!(unlisted(&findings.path().join("absent")), [""; 0]);
    }

    #[test]
    fn a_finding_is_found_by_its_report_whatever_its_folder_is_called() {
        let findings = tempfile::tempdir().unwrap();
        let old = finding(findings.path(), NAME, &text("oom", "aa"));
        let mut index = Index::new(findings.path().into());
        assert_eq!(index.find(&report("oom", "aa")), Some(old.clone()));
        assert_eq!(index.find(&report("signal", "aa")), None);
        assert_eq!(index.find(&report("signal", "00112233445566ff")), Some(old.clone()), "a folder is taken");
        std::fs::write(old.join("report.json"), text("oom", "bbb")).unwrap();
        assert_eq!(index.find(&report("oom", "bbb")), Some(old));
        assert_eq!(index.find(&report("oom", "aa")), None);
    }
}
