//! Where the functions of a library's file begin and end, as the unwinder knows it.
//!
//! `.eh_frame` has a record for each function that can be unwound through, and it stays when a file is
//! stripped. So an address has a function even where no symbol names it, and a symbol that stands before
//! an address is told from the one that holds it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use addr2line::gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian as GimliLittle, UnwindSection};
use object::read::elf::FileHeader;
use object::{LittleEndian, Object, ObjectSection, ObjectSegment};

use super::code;
use super::table::with_file;

/// The functions of one file.
#[derive(Default)]
pub struct Functions {
    /// First address and one past the last, sorted.
    ranges: Vec<(u64, u64)>,
    path: PathBuf,
    /// Whether functions can return, by where they begin: their code is read when somebody asks.
    returning: RefCell<HashMap<u64, bool>>,
}

impl Functions {
    /// Reads them; none where the file has no unwind records or cannot be read.
    pub fn read(path: &Path) -> Functions {
        let mut ranges = with_file(path, |file, _| {
            let Some(section) = file.section_by_name(".eh_frame") else { return Ok(Vec::new()) };
            let text = file.section_by_name(".text").map_or(0, |section| section.address());
            let bases = BaseAddresses::default().set_eh_frame(section.address()).set_text(text);
            let data = section.data().map_err(|error| error.to_string())?;
            Ok(ranges(&EhFrame::new(data, GimliLittle), &bases))
        })
        .unwrap_or_default();
        ranges.sort_unstable();
        Functions { ranges, path: path.into(), returning: RefCell::default() }
    }

    /// Whether the function of this range can return to its caller. True where that cannot be read.
    pub fn can_return(&self, (start, end): (u64, u64)) -> bool {
        *self.returning.borrow_mut().entry(start).or_insert_with(|| {
            let read = with_file(&self.path, |file, _| {
                let machine = file.elf_header().e_machine(LittleEndian);
                let segment = file.segments().find(|s| (s.address()..s.address() + s.size()).contains(&start));
                let code = segment.and_then(|segment| segment.data_range(start, end - start).ok().flatten());
                Ok(code.is_none_or(|code| code::can_return(machine, start, code)))
            });
            read.unwrap_or(true)
        })
    }

    /// The function that holds `address`: its first address, and one past its last.
    pub fn holding(&self, address: u64) -> Option<(u64, u64)> {
        let after = self.ranges.partition_point(|(start, _)| *start <= address);
        let range = *self.ranges.get(after.checked_sub(1)?)?;
        (address < range.1).then_some(range)
    }
}

/// Where the function that holds an address of a library's file begins. A file is read once for the life of the
/// process.
pub fn function_start(path: &str, address: u64) -> Option<u64> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Functions>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let functions = known.entry(path.to_string()).or_insert_with(|| Functions::read(Path::new(path)));
    functions.holding(address).map(|(start, _)| start)
}

/// Every record that can be read; a damaged one ends the walk.
fn ranges(section: &EhFrame<addr2line::gimli::EndianSlice<'_, GimliLittle>>, bases: &BaseAddresses) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let Ok(record) = partial.parse(EhFrame::cie_from_offset) else { continue };
        let (start, len) = (record.initial_address(), record.len());
        if let Some(end) = start.checked_add(len).filter(|end| *end > start) {
            ranges.push((start, end));
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_program_is_held_by_itself() {
        let address = a_function_of_this_program_is_held_by_itself as fn() as usize;
        let bias = hitmap_wire::identity::holding(address).unwrap().bias;
        let start = address as u64 - bias;
        let functions = Functions::read(&std::env::current_exe().unwrap());
        assert_eq!(functions.holding(start).unwrap().0, start);
        assert_eq!(functions.holding(start + 1).unwrap().0, start);
        let path = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        assert_eq!(function_start(&path, start + 1), Some(start));
        assert_eq!(functions.holding(1), None);
        assert_eq!(functions.holding(u64::MAX), None);
    }

    #[test]
    fn what_is_no_library_has_none() {
        assert_eq!(Functions::read(Path::new("/dev/null")).holding(0), None);
    }
}
