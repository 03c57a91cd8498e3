//! `hitmap export`: a finding in one file, with all that it takes to run it elsewhere.

use std::path::{Path, PathBuf};

use super::fuzz::harness_parser;
use super::origin::{Chosen, Origin};
use crate::campaign::archive::{self, HARNESS};
use crate::campaign::manifest::{Manifest, SETUP};
use crate::disk;
use crate::error::{Failure, exit};
use crate::finding::report::Report;
use crate::finding::save::{python_string, regression_test, shell_quote};
use crate::print;
use crate::settings::split_harness;

/// Bytes of the largest part of a finding.
const LARGEST: u64 = 256 << 20;

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  hitmap export out/findings/signal-0123456789abcdef
  hitmap replay signal-0123456789abcdef.tar --trust    (elsewhere)

The archive has the input, the report, the harness, the limits, the identities
of the builds, and a test for pytest. Of the harness it has the one file: what
that imports besides installed packages must be brought along.")]
pub struct Typed {
    /// A finding: its folder in OUT/findings
    #[arg(value_name = "FINDING")]
    finding: PathBuf,
    /// The archive to write; the finding's name with .tar when it is left out
    #[arg(short = 'o', long = "out", value_name = "FILE.tar")]
    out: Option<PathBuf>,
    /// The harness; the one of the finding's campaign, when it is left out
    #[arg(long, value_name = "HARNESS.py[:NAME]", value_parser = harness_parser())]
    harness: Option<String>,
    /// Put the harness into it that a campaign from elsewhere names
    #[arg(long)]
    trust: bool,
}

/// Writes the archive.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed) -> Result<i32, Failure> {
    let folder = folder_of(&typed.finding)?;
    let input = folder.join("input");
    let origin = Origin::of(&input)?;
    // A stranger's campaign could name any file of this user's as its harness.
    let chosen = Chosen::of(typed.harness.as_deref(), origin.as_ref(), typed.trust, &typed.finding)?;
    let manifest = origin.map(|origin| origin.manifest);
    let name = std::fs::canonicalize(&folder).map_err(Failure::file("cannot read", &folder))?;
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let out = typed.out.clone().unwrap_or_else(|| format!("{name}.tar").into());
    if out.is_dir() {
        return Err(Failure::usage(format!("{}: a folder; name a file with -o", out.display())));
    }
    let (files, created) = files(&folder, &chosen.harness, manifest)?;
    let packed = archive::pack(&name, &files, created);
    let packed =
        packed.map_err(|e| Failure::usage(format!("{}: cannot be put into an archive: {e}", folder.display())))?;
    disk::replace(&out, &packed).map_err(Failure::disk("cannot write"))?;
    print::line(format_args!(
        "{}: input, report, harness, limits and test, {} bytes\nElsewhere, with the package installed: hitmap replay {} --trust",
        out.display(),
        packed.len(),
        shell_quote(&out.file_name().unwrap_or_default().to_string_lossy())
    ))?;
    Ok(exit::CLEAN)
}

/// The folder of a finding, or of a file in it.
fn folder_of(named: &Path) -> Result<PathBuf, Failure> {
    let folder = if named.is_dir() { named.to_owned() } else { named.parent().unwrap_or(named).to_owned() };
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    if folder.join("input").exists() && folder.join("report.json").exists() {
        return Ok(folder);
    }
    Err(Failure::usage(format!(
        "{}: not a finding; name one, as in OUT/findings/signal-0123456789abcdef",
        named.display()
    )))
}

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// The archive's files by name, and when the campaign began. None has a path of this machine but the stacks
/// in the report.
fn files(folder: &Path, harness: &str, manifest: Option<Manifest>) -> Result<(Files, u64), Failure> {
    let read = |name: &str| disk::read(&folder.join(name), LARGEST).map_err(Failure::disk("cannot read"));
    let (file, name) = split_harness(harness);
    let base = Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let place = format!("{HARNESS}/{base}");
    let named = |file: &str| name.as_ref().map_or(file.to_owned(), |name| format!("{file}:{name}"));
    let path = folder.join("report.json");
    let mut report: Report = serde_json::from_slice(&read("report.json")?)
        .map_err(|e| Failure::usage(format!("{}: not a finding's report ({e})", path.display())))?;
    report.harness = named(&place);
    report.input = "input".into();
    report.replay = "hitmap replay input --trust".into();
    let mut manifest = manifest.unwrap_or_else(Manifest::bare);
    manifest.harness = report.harness.clone();
    manifest.leave_machine();
    let text = |report: &Report| serde_json::to_vec_pretty(report).map_err(|e| Failure::internal(e.to_string()));
    let code = disk::read(Path::new(file), LARGEST).map_err(Failure::disk("cannot read the harness"))?;
    let expression = format!("str(HERE / {} / {})", python_string(HARNESS), python_string(&base))
        + &name.as_ref().map(|name| format!(" + {}", python_string(&format!(":{name}")))).unwrap_or_default();
    let told = Report { title: without_paths(&report.title), ..report.clone() };
    let test = regression_test(&told, &expression, &manifest.replay_flags());
    let mut files = vec![
        (SETUP.to_owned(), manifest.to_text()?),
        ("input".into(), read("input")?),
        ("report.json".into(), text(&report)?),
        (format!("test_{}.py", report.signature), test.into_bytes()),
        (place, code),
    ];
    for name in ["traceback.txt", "coverage.hitmap"] {
        if folder.join(name).exists() {
            files.push((name.into(), read(name)?));
        }
    }
    Ok((files, manifest.created))
}

/// Text with the last part of each absolute path in it.
fn without_paths(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || "'\"()[]{}<>,;".contains(c);
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, next) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
        shown.push_str(if word.starts_with('/') { word.rsplit('/').next().unwrap_or(word) } else { word });
        let end = next.chars().next().map_or(0, char::len_utf8);
        shown.push_str(&next[..end]);
        rest = &next[end..];
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_left_out() {
        let text = "FileNotFoundError: '/tmp/me/x y.txt' in f (/a/b.cpp:7), and/or 1/2";
        assert_eq!(without_paths(text), "FileNotFoundError: 'x y.txt' in f (b.cpp:7), and/or 1/2");
    }
}
