//! The table of addresses in a library's file: one pair of words an edge, in the order of the
//! edges' numbers.
//!
//! The compiler puts the pairs into the section `__sancov_pcs`: the address, and 1 where a function
//! begins. In the file of a shared library the words are what the loader starts from: it adds the
//! place it loaded the library at, as relocations tell it, or looks a symbol up where a function can
//! be interposed. Both are done here as for a library that is loaded at 0. Only what is needed is
//! read, so a library of gigabytes costs little.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use hitmap_wire::identity::{Identity, identity_from};
use object::elf::{self, FileHeader64};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{
    LittleEndian, Object, ObjectSection, ObjectSymbol, ReadCache, ReadRef, RelocationFlags, RelocationTarget,
};

use super::PlacesError;
use crate::disk::{self, Opened};

/// One edge.
pub struct Edge {
    /// Its address within the file.
    pub address: u64,
    /// Whether a function begins there.
    pub entry: bool,
}

/// What a file says of its edges.
pub struct Table {
    /// The library's name for itself.
    pub identity: Identity,
    /// Its edges, by number; none when it was built without a table.
    pub edges: Vec<Edge>,
}

impl Table {
    /// Reads it from a library's file.
    pub fn read(path: &Path) -> Result<Table, PlacesError> {
        with_file(path, |file, data| {
            let identity = identity(file, data).ok_or("a segment is cut off")?;
            Ok(Table { identity, edges: edges(file).map_err(|error| error.to_string())? })
        })
    }
}

type Elf<'data, R> = ElfFile64<'data, LittleEndian, R>;

/// Opens a library's file and has `read` look into it.
pub fn with_file<T>(
    path: &Path,
    read: impl FnOnce(&Elf<'_, &ReadCache<File>>, &ReadCache<File>) -> Result<T, String>,
) -> Result<T, PlacesError> {
    let unreadable = |cause| PlacesError::Unreadable { path: path.to_owned(), cause };
    // A path from a saved map may name anything by now.
    let file = match disk::look(path).map_err(unreadable)? {
        Opened::File(file, _) => file,
        Opened::Else(what) => return Err(unreadable(disk::not_a_file(what))),
    };
    let cache = ReadCache::new(file);
    let parsed = Elf::parse(&cache).map_err(|error| error.to_string()).and_then(|file| read(&file, &cache));
    parsed.map_err(|cause| PlacesError::Malformed { path: path.to_owned(), cause })
}

/// The name that a process gives the library when it loads this file.
pub fn identity<'data, R: ReadRef<'data>>(file: &Elf<'data, R>, data: R) -> Option<Identity> {
    let header: &FileHeader64<LittleEndian> = file.elf_header();
    let (mut notes, mut code) = (Vec::new(), Vec::new());
    for segment in header.program_headers(LittleEndian, data).ok()? {
        let bytes = || segment.data(LittleEndian, data).ok();
        match segment.p_type(LittleEndian) {
            elf::PT_NOTE => notes.push((bytes()?, segment.p_align(LittleEndian))),
            elf::PT_LOAD if segment.p_flags(LittleEndian).0 & elf::PF_X.0 != 0 => code.push(bytes()?),
            _ => {}
        }
    }
    Some(identity_from(notes.into_iter(), code.into_iter()))
}

fn edges<'data, R: ReadRef<'data>>(file: &Elf<'data, R>) -> object::Result<Vec<Edge>> {
    let Some(section) = file.section_by_name("__sancov_pcs") else { return Ok(Vec::new()) };
    let (start, bytes) = (section.address(), section.data()?);
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut edges: Vec<Edge> = bytes
        .chunks_exact(16)
        .map(|pair| Edge { address: word(&pair[..8]), entry: word(&pair[8..]) & 1 != 0 })
        .collect();
    let symbols: HashMap<_, _> = file.dynamic_symbols().map(|s| (s.index(), s.address())).collect();
    for (at, relocation) in file.dynamic_relocations().into_iter().flatten() {
        let Some(offset) = at.checked_sub(start).filter(|offset| offset % 16 == 0) else { continue };
        let Some(edge) = edges.get_mut((offset / 16) as usize) else { continue };
        let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
        let base = match (file.elf_header().e_machine(LittleEndian), relocation.target()) {
            (elf::EM_X86_64, _) if r_type == elf::R_X86_64_RELATIVE => 0,
            (elf::EM_AARCH64, _) if r_type == elf::R_AARCH64_RELATIVE => 0,
            (elf::EM_X86_64, RelocationTarget::Symbol(index)) if r_type == elf::R_X86_64_64 => {
                symbols.get(&index).copied().unwrap_or(0)
            }
            (elf::EM_AARCH64, RelocationTarget::Symbol(index)) if r_type == elf::R_AARCH64_ABS64 => {
                symbols.get(&index).copied().unwrap_or(0)
            }
            _ => continue,
        };
        edge.address = base.wrapping_add(relocation.addend() as u64);
    }
    Ok(edges)
}
