//! Words in a library's own constants, as tokens: keywords of the format that it reads, mostly.
//!
//! Reads the library's file, not its memory, and trusts neither. A guess by its nature: most strings
//! of a library are messages and names for its caller, and the filter is there to leave those out.

use std::collections::HashSet;
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection};

use hitmap_wire::control::MAP_VARIABLE;
use hitmap_wire::modules::Module;

use crate::disk;

/// Words that are taken at the most; the shortest are.
const WORDS: usize = 128;
/// A word's length, in bytes.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=20;
/// A file that is larger is not read: its words would be those of everything.
const LARGEST: u64 = 64 << 20;

/// Constants of hitmap's stub, which every instrumented library carries.
const OWN: [&str; 2] = [MAP_VARIABLE, "LLVM_COVMAP_SHM_NAME"];

/// Words in the read-only data of the loaded libraries. A file that cannot be read has none.
pub fn of_modules(modules: &[Module]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    for module in modules.iter().filter(|module| module.load_bias != 0) {
        words.extend(of_file(Path::new(&module.path)).unwrap_or_default());
    }
    let mut known = HashSet::new();
    words.retain(|word| known.insert(word.clone()));
    words.sort_by_key(Vec::len);
    words.truncate(WORDS);
    words
}

fn of_file(path: &Path) -> Option<Vec<Vec<u8>>> {
    let file = disk::read(path, LARGEST).ok()?;
    let file = ElfFile64::<LittleEndian, &[u8]>::parse(&file).ok()?;
    let section = file.section_by_name(".rodata")?;
    Some(of_constants(section.data().ok()?))
}

/// Words among strings that end with a zero.
fn of_constants(data: &[u8]) -> Vec<Vec<u8>> {
    let words = data.split(|byte| *byte == 0).filter(|text| LENGTH.contains(&text.len()) && is_word(text));
    words.map(<[u8]>::to_vec).collect()
}

fn is_word(text: &[u8]) -> bool {
    let text = match std::str::from_utf8(text) {
        Ok(text) if text.bytes().all(|c| c.is_ascii_graphic()) && text.bytes().any(|c| c.is_ascii_alphabetic()) => text,
        _ => return false,
    };
    // `%s` is for messages; a name of a type or a function begins with its length, or ends like a file.
    let is_mangled = ["_Z", "St", "N", "P", "F"].iter().any(|start| {
        text.strip_prefix(start)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == 'K' || c == 'S'))
    });
    let is_file = [".c", ".cc", ".cpp", ".h", ".hpp", ".pyx", ".py", ".so"].iter().any(|end| text.ends_with(end));
    let is_dunder = text.starts_with("__");
    !(OWN.contains(&text)
        || text.contains('%')
        || text.starts_with(|c: char| c.is_ascii_digit())
        || is_mangled
        || is_file
        || is_dunder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &[u8], expect: &[&str]) {
        let words: Vec<String> = of_constants(data).into_iter().map(|w| String::from_utf8(w).unwrap()).collect();
        assert_eq!(words, expect);
    }

    #[test]
    fn keywords_are_words() {
        let words = ["true", "false", "-Infinity", "Content-Type:", "BEGIN:VCARD", "<![CDATA["];
        check((words.join("\0") + "\0<!--\0").as_bytes(), &words);
    }

    #[test]
    fn messages_and_names_are_none() {
        check(b"expected a value\0%s: bad\0N8pybind116objectE\0St9exception\0parser.cpp\0__init__\0ab\0\xFFabc\0", &[]);
        check(b"HITMAP_MAP\0LLVM_COVMAP_SHM_NAME", &[]);
        check(b"9Exception\0a_very_long_name_of_something\0\x01\x02\x03\x04", &[]);
    }

    #[test]
    fn a_program_has_words_and_a_text_has_none() {
        assert!(of_file(&std::env::current_exe().unwrap()).is_none_or(|words| !words.is_empty()));
        assert_eq!(of_file(Path::new(file!())), None);
    }

    proptest::proptest! {
        #[test]
        fn any_constants_are_safe(data: Vec<u8>) {
            of_constants(&data);
        }
    }
}
