//! What the user brings along: seed inputs and dictionaries.

use std::path::{Path, PathBuf};

use libafl::mutators::Tokens;

use crate::error::Failure;
use crate::settings::Settings;

/// A seed input.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The file's name.
    pub name: String,
    /// Its bytes.
    pub input: Vec<u8>,
}

/// Reads seed files, in the order of their paths; too long ones are cut to `max_len`.
///
/// # Errors
/// When a folder is missing or has no files.
pub fn read_seeds(settings: &Settings) -> Result<Vec<Seed>, Failure> {
    let mut seeds = Vec::new();
    for path in &settings.seeds {
        let before = seeds.len();
        for file in files_below(path)? {
            let mut input = std::fs::read(&file).map_err(Failure::file("cannot read", &file))?;
            input.truncate(settings.max_len);
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
    Ok(seeds)
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

/// Reads dictionaries in AFL's syntax.
///
/// # Errors
/// When one cannot be read; the message names the file.
pub fn read_tokens(dictionaries: &[PathBuf]) -> Result<Tokens, Failure> {
    let mut tokens = Tokens::new();
    for path in dictionaries {
        std::fs::metadata(path).map_err(Failure::file("cannot read", path))?;
        let read = tokens.add_from_file(path).map(|_| ());
        read.map_err(|e| Failure::usage(format!("{}: not a dictionary in AFL's syntax: {e}", path.display())))?;
    }
    Ok(tokens)
}
