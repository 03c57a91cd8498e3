//! What names a library on every machine: its build-id, or a hash of its code.
//!
//! An edge is (identity, local index). Both survive ASLR, import order, fork and copying the file.
//! The build-id is the `NT_GNU_BUILD_ID` note that linkers write (Debian's by default). A library
//! without one is named by a 128-bit FNV-1a hash of its executable segments, which the loader maps
//! as they stand in the file.

use std::ffi::c_void;

/// The longest build-id that is kept, in bytes; SHA-1 has 20.
pub const LEN: usize = 32;

/// A library's name for itself: up to [`LEN`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Identity {
    len: u32,
    bytes: [u8; LEN],
}

impl Identity {
    /// Names a library by `bytes`, cut at [`LEN`].
    pub fn new(bytes: &[u8]) -> Identity {
        let mut identity = Identity { len: bytes.len().min(LEN) as u32, bytes: [0; LEN] };
        let len = identity.len as usize;
        identity.bytes[..len].copy_from_slice(&bytes[..len]);
        identity
    }

    /// The bytes. Safe on an identity that was read from shared memory.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..(self.len as usize).min(LEN)]
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// A library as the loader has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The file it was loaded from; empty for the program itself.
    pub path: Vec<u8>,
    /// What to add to an address in the file to get one in memory.
    pub bias: u64,
    /// The first and one past the last address of its segments.
    pub span: (u64, u64),
    /// Its name.
    pub identity: Identity,
}

/// The library that holds `address`, if any.
pub fn holding(address: usize) -> Option<Loaded> {
    let mut found = None;
    each_loaded(|info| {
        if span_of(info).is_some_and(|(start, end)| (start..end).contains(&(address as u64))) {
            found = Some(describe(info));
            return true;
        }
        false
    });
    found
}

/// Every library of this process, in the loader's order.
pub fn all_loaded() -> Vec<Loaded> {
    let mut all = Vec::new();
    each_loaded(|info| {
        all.push(describe(info));
        false
    });
    all
}

/// How many libraries this process has loaded so far; it never goes down, so a change means that
/// something was loaded since.
pub fn loads_so_far() -> u64 {
    let mut count = 0;
    each_loaded(|info| {
        count = info.dlpi_adds;
        true
    });
    count
}

/// Calls `visit` for every loaded library until it returns true.
pub fn each_loaded(mut visit: impl FnMut(&libc::dl_phdr_info) -> bool) {
    extern "C" fn trampoline<F: FnMut(&libc::dl_phdr_info) -> bool>(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        data: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: `data` is the closure that the caller below passed, alive during the whole walk,
        // and the loader passes a valid `info`.
        unsafe { libc::c_int::from((*data.cast::<F>())(&*info)) }
    }
    fn start<F: FnMut(&libc::dl_phdr_info) -> bool>(visit: &mut F) {
        // SAFETY: the trampoline matches the type of `visit`, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(trampoline::<F>), (visit as *mut F).cast()) };
    }
    start(&mut visit);
}

fn segments(info: &libc::dl_phdr_info) -> &[libc::Elf64_Phdr] {
    if info.dlpi_phdr.is_null() {
        return &[];
    }
    // SAFETY: the loader gives an array of `dlpi_phnum` headers.
    unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
}

/// The first and one past the last address of a loaded library's segments.
pub fn span_of(info: &libc::dl_phdr_info) -> Option<(u64, u64)> {
    let loads = segments(info).iter().filter(|s| s.p_type == libc::PT_LOAD);
    let start = loads.clone().map(|s| info.dlpi_addr + s.p_vaddr).min()?;
    let end = loads.map(|s| info.dlpi_addr + s.p_vaddr + s.p_memsz).max()?;
    Some((start, end))
}

/// The name of the file that a library was loaded from; empty for the program itself.
pub fn name_of(info: &libc::dl_phdr_info) -> &[u8] {
    if info.dlpi_name.is_null() {
        return &[];
    }
    // SAFETY: the loader gives a C string.
    unsafe { std::ffi::CStr::from_ptr(info.dlpi_name) }.to_bytes()
}

fn describe(info: &libc::dl_phdr_info) -> Loaded {
    let span = span_of(info).unwrap_or((0, 0));
    Loaded { path: name_of(info).to_vec(), bias: info.dlpi_addr, span, identity: identity_of(info) }
}

/// The identity of a loaded library.
pub fn identity_of(info: &libc::dl_phdr_info) -> Identity {
    let of_kind = |kind: u32| segments(info).iter().filter(move |s| s.p_type == kind);
    // SAFETY: the loader maps notes that lie in a loaded segment; linkers place them there.
    let notes = of_kind(libc::PT_NOTE).map(|s| (unsafe { memory(info, s) }, s.p_align));
    let code = of_kind(libc::PT_LOAD).filter(|s| s.p_flags & libc::PF_X != 0);
    // SAFETY: executable segments are readable on every platform that we build for.
    identity_from(notes, code.map(|s| unsafe { memory(info, s) }))
}

/// The identity of a library with these notes, each with its alignment, and this code: its
/// executable segments in the order of the file, as long as they are in the file.
pub fn identity_from<'a>(
    mut notes: impl Iterator<Item = (&'a [u8], u64)>,
    code: impl Iterator<Item = &'a [u8]>,
) -> Identity {
    if let Some(id) = notes.find_map(|(bytes, align)| find_note(bytes, align, b"GNU\0", 3)) {
        return Identity::new(id);
    }
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in code.flatten() {
        hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013B);
    }
    Identity::new(&hash.to_le_bytes())
}

/// # Safety
/// The segment must be mapped and readable.
unsafe fn memory<'a>(info: &'a libc::dl_phdr_info, segment: &libc::Elf64_Phdr) -> &'a [u8] {
    let start = (info.dlpi_addr + segment.p_vaddr) as *const u8;
    // SAFETY: the caller's word.
    unsafe { std::slice::from_raw_parts(start, segment.p_filesz as usize) }
}

/// The description of the first note with this owner and type. Notes are triples (owner length,
/// description length, type) followed by both, each padded to `align` bytes (ELF gABI, "Note
/// Section"; 4 everywhere but in some 8-aligned segments).
pub fn find_note<'a>(notes: &'a [u8], align: u64, owner: &[u8], kind: u32) -> Option<&'a [u8]> {
    let align = if align == 8 { 8 } else { 4 };
    let mut rest = notes;
    loop {
        let word = |at: usize| rest.get(at..at + 4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
        let (owner_len, len, note_kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let start = 12usize.checked_add(owner_len)?.checked_next_multiple_of(align)?;
        let description = rest.get(start..start.checked_add(len)?);
        if note_kind == kind && rest.get(12..12 + owner_len) == Some(owner) {
            return description;
        }
        rest = rest.get(start.checked_add(len)?.checked_next_multiple_of(align)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_a_stable_identity() {
        let here = this_program_has_a_stable_identity as fn() as usize;
        let first = holding(here).expect("code lies in a loaded file");
        let again = holding(here).expect("code lies in a loaded file");
        assert!(!first.identity.is_empty());
        assert_eq!(first.identity, again.identity);
        assert!(first.span.0 <= here as u64 && (here as u64) < first.span.1);
    }

    #[test]
    fn libraries_differ() {
        let all = all_loaded();
        let libc = all.iter().find(|l| l.path.windows(5).any(|w| w == b"libc.")).expect("libc is loaded");
        assert!(all.iter().filter(|l| l.identity == libc.identity).count() == 1);
    }

    #[test]
    fn loads_are_counted() {
        assert!(loads_so_far() >= all_loaded().len() as u64);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe_as_notes(bytes: Vec<u8>) {
            find_note(&bytes, 4, b"GNU\0", 3);
            find_note(&bytes, 8, b"GNU\0", 3);
        }
    }
}
