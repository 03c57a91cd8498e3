//! The names of a library's functions, read from its file: an address alone does not survive a
//! rebuild.
//!
//! Reads `.symtab`, or `.dynsym` where that was stripped. Linkers keep the source file of local
//! symbols in a symbol of their own (STT_FILE) that stands before them. The file may have been
//! replaced since it was loaded, so everything is checked, and nothing is found in a damaged one.

use std::collections::HashMap;

/// What names a function: its linkage name, with the source path before it for a local one.
pub type Name = Vec<u8>;

/// The functions of an ELF file by their address in it. Several at one address: the first name, in
/// the order of the alphabet, global ones before local ones.
pub fn functions(file: &[u8]) -> HashMap<u64, Name> {
    let mut found = HashMap::<u64, (bool, Name)>::new();
    let _ = each_function(file, |address, local, name| {
        let entry = found.entry(address).or_insert_with(|| (local, name.clone()));
        if (local, &name) < (entry.0, &entry.1) {
            *entry = (local, name);
        }
    });
    found.into_iter().map(|(address, (_, name))| (address, name)).collect()
}

const SYMTAB: u64 = 2;
const DYNSYM: u64 = 11;
const FUNCTION: u8 = 2;
const INDIRECT: u8 = 10;
const FILE: u8 = 4;

fn each_function(file: &[u8], mut visit: impl FnMut(u64, bool, Name)) -> Option<()> {
    // 64-bit little-endian ELF, the only one that the runtime is built for.
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (sections, entry, count) = (number(file, 40, 8)?, number(file, 58, 2)?, number(file, 60, 2)?);
    let field = |section: u64, at: u64, len| {
        number(file, usize::try_from(section.checked_mul(entry)?.checked_add(sections)?.checked_add(at)?).ok()?, len)
    };
    let contents = |section: u64| {
        let (start, len) = (field(section, 24, 8)?, field(section, 32, 8)?);
        file.get(usize::try_from(start).ok()?..usize::try_from(start.checked_add(len)?).ok()?)
    };
    let table = [SYMTAB, DYNSYM].into_iter().find_map(|kind| (0..count).find(|s| field(*s, 4, 4) == Some(kind)))?;
    let (symbols, strings) = (contents(table)?, contents(field(table, 40, 4)?)?);
    let mut source: &[u8] = b"";
    for symbol in symbols.chunks_exact(24) {
        let text = strings.get(number(symbol, 0, 4)? as usize..)?;
        let name = &text[..text.iter().position(|byte| *byte == 0)?];
        // The linker makes hidden symbols local, and they may stand behind any source file's: their
        // names are unique without it.
        let (kind, local) = (symbol[4] & 15, symbol[4] >> 4 == 0 && symbol[5] & 3 == 0);
        let defined = number(symbol, 6, 2)? != 0;
        if kind == FILE {
            source = name;
        } else if (kind == FUNCTION || kind == INDIRECT) && defined {
            let path: &[u8] = if local { source } else { b"" };
            visit(number(symbol, 8, 8)?, local, qualified(path, name));
        }
    }
    Some(())
}

fn qualified(path: &[u8], name: &[u8]) -> Name {
    if path.is_empty() { name.to_vec() } else { [path, b":", name].concat() }
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..len].copy_from_slice(bytes.get(at..at.checked_add(len)?)?);
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_its_own_functions() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        let named = functions(&file);
        assert!(named.values().any(|name| name == b"main"));
        assert!(named.values().any(|name| name.windows(5).any(|w| w == b"each_")));
    }

    #[test]
    fn damaged_files_give_nothing_or_less() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        for len in [0, 5, 6, 63, 64, 4096, file.len() / 2] {
            functions(&file[..len]);
        }
        let mut head = file[..file.len().min(1 << 16)].to_vec();
        for at in 0..64 {
            head[at] ^= 0xFF;
            functions(&head);
            head[at] ^= 0xFF;
        }
    }
}
