//! What the user brings along: seed inputs and dictionaries.

use std::path::{Path, PathBuf};

use libafl::mutators::{Tokens, str_decode};

use crate::disk;
use crate::error::Failure;
use crate::settings::Settings;

/// The longest dictionary that is read, in bytes: a million short lines.
const LONGEST_DICTIONARY: u64 = 16 << 20;

/// A seed input.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The file's name.
    pub name: String,
    /// Its bytes.
    pub input: Vec<u8>,
}

/// Reads seed files, in the order of their paths; too long ones are cut to `max_len`. Says how many
/// were.
///
/// # Errors
/// When a folder is missing or has no files.
pub fn read_seeds(settings: &Settings) -> Result<(Vec<Seed>, usize), Failure> {
    let mut seeds = Vec::new();
    let mut cut = 0;
    for path in &settings.seeds {
        let before = seeds.len();
        for file in files_below(path)? {
            let (input, len) =
                disk::read_start(&file, settings.max_len as u64).map_err(Failure::disk("cannot read"))?;
            cut += usize::from(len > settings.max_len as u64);
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            seeds.push(Seed { name, input });
        }
        if seeds.len() == before {
            return Err(Failure::usage(format!(
                "{}: no seeds in it; put one small valid input into it, or leave -i out",
                path.display()
            )));
        }
    }
    if seeds.is_empty() {
        // Something to mutate: the empty input, and one byte of each of a few kinds.
        seeds =
            [&b""[..], b"0", b"a", b" "].iter().map(|s| Seed { name: "builtin".into(), input: s.to_vec() }).collect();
    }
    Ok((seeds, cut))
}

fn files_below(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let missing =
        |e: std::io::Error| Failure::usage(format!("{}: {e}; -i wants a folder of seed inputs", path.display()));
    if std::fs::metadata(path).map_err(missing)?.is_file() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(missing)? {
            let path = entry.map_err(missing)?.path();
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if path.is_file() && !hidden {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads dictionaries in AFL's syntax: `"value"` or `name="value"` a line, `#` begins a comment. Not by
/// LibAFL's reader, which panics on a file that is no text and names no line; its decoder is used.
///
/// # Errors
/// When one cannot be read; the message names the file and the line.
pub fn read_tokens(dictionaries: &[PathBuf]) -> Result<Tokens, Failure> {
    let mut tokens = Tokens::new();
    for path in dictionaries {
        let text = disk::read(path, LONGEST_DICTIONARY).map_err(Failure::disk("cannot read the dictionary"))?;
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let shown = String::from_utf8_lossy(line);
            let shown = shown.trim();
            if shown.is_empty() || shown.starts_with('#') {
                continue;
            }
            let Some(token) = std::str::from_utf8(line).ok().and_then(|line| token(line.trim())) else {
                let shown: String = shown.chars().filter(|c| !c.is_control()).take(60).collect();
                return Err(Failure::usage(format!(
                    "{}: line {}: {shown}: not a dictionary entry; one reads name=\"value\", with \\\\, \\\" and \\xNN inside",
                    path.display(),
                    at + 1
                )));
            };
            if !token.is_empty() {
                tokens.add_token(&token);
            }
        }
    }
    Ok(tokens)
}

fn token(line: &str) -> Option<Vec<u8>> {
    let (_, value) = line.split_once('"')?;
    str_decode(value.strip_suffix('"')?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dict");
        std::fs::write(&path, text).unwrap();
        read_tokens(&[path]).map(|tokens| tokens.tokens().to_vec()).map_err(|e| e.message)
    }

    #[test]
    fn dictionaries_are_read_as_afl_reads_them() {
        let text = b"# comment\n\na=\"x\\x41\"\n\"a\\\"b\"\n";
        assert_eq!(check(text), Ok(vec![b"xA".to_vec(), b"a\"b".to_vec()]));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert!(check(b"ok=\"x\"\nno end=\"x\n").unwrap_err().contains("line 2"));
        assert!(check(b"\xFF\xFE").unwrap_err().contains("line 1"));
    }

    proptest::proptest! {
        #[test]
        fn any_dictionary_is_safe(text: Vec<u8>) {
            let _ = check(&text);
        }
    }
}
