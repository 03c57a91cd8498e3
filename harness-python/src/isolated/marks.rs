//! Marks: what a run had covered by the time it said so.
//!
//! Both ends of one file. The child appends a record a mark, in one write, so that a run that dies
//! leaves whole ones; the parent reads when the child is gone. A record has the edges since the mark
//! before: with guards that is what the journal gained, otherwise a scan finds it.
//!
//! ```text
//! u32 bytes of the name, u32 edges, the name in UTF-8, one u32 an edge: its number in the region
//! ```

use std::io::{self, Seek, Write};
use std::os::fd::BorrowedFd;

use hitmap_wire::modules;
use hitmap_wire::region::Region;
use hitmap_wire::sweep::Plan;

/// What was marked so far.
#[derive(Default)]
pub struct Marks {
    /// A bit an edge.
    seen: Vec<u64>,
    /// Entries of the journal that were read.
    journal: u32,
}

impl Marks {
    /// Appends what is touched now, and was not at the mark before.
    ///
    /// # Errors
    /// What `write(2)` reports.
    pub fn add(&mut self, name: &str, region: &Region, file: BorrowedFd<'_>) -> io::Result<()> {
        let plan = Plan::of(&modules::all(region), region.layout().capacity);
        // A library that was loaded since lies behind what was seen so far.
        self.seen.resize((region.layout().capacity as usize).div_ceil(64), 0);
        let mut edges = Vec::new();
        let Marks { seen, journal } = self;
        *journal = plan.peek(region, *journal, |edge| {
            let (word, bit) = (&mut seen[edge as usize / 64], 1 << (edge % 64));
            if *word & bit == 0 {
                *word |= bit;
                edges.push(edge);
            }
        });
        let mut record = Vec::with_capacity(8 + name.len() + 4 * edges.len());
        record.extend((name.len() as u32).to_le_bytes());
        record.extend((edges.len() as u32).to_le_bytes());
        record.extend(name.as_bytes());
        record.extend(edges.iter().flat_map(|edge| edge.to_le_bytes()));
        std::fs::File::from(file.try_clone_to_owned()?).write_all(&record)
    }
}

/// The records that are whole: names, and the edges since the mark before.
///
/// # Errors
/// When the file cannot be read.
pub fn read(file: BorrowedFd<'_>) -> io::Result<Vec<(String, Vec<u32>)>> {
    let bytes = super::whole(file)?;
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while let Some(record) = next(&mut rest) {
        records.push(record);
    }
    Ok(records)
}

/// Makes the file empty, for the next run.
///
/// # Errors
/// What the system reports.
pub fn clear(file: BorrowedFd<'_>) -> io::Result<()> {
    let mut file = std::fs::File::from(file.try_clone_to_owned()?);
    file.set_len(0)?;
    // All who write share one position.
    file.rewind()
}

fn next(rest: &mut &[u8]) -> Option<(String, Vec<u32>)> {
    let (lengths, body) = rest.split_first_chunk::<8>()?;
    let length = |at: usize| Some(u32::from_le_bytes(*lengths[at..].first_chunk()?) as usize);
    let (name, body) = body.split_at_checked(length(0)?)?;
    let (edges, after) = body.split_at_checked(length(4)?.checked_mul(4)?)?;
    *rest = after;
    let (edges, _) = edges.as_chunks::<4>();
    Some((String::from_utf8_lossy(name).into_owned(), edges.iter().map(|edge| u32::from_le_bytes(*edge)).collect()))
}
