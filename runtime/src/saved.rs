//! The view as bytes, for another process of the same libraries.
//!
//! Little-endian: [`MAGIC`], u32 [`VERSION`], u32 number of parts; then for each part the length of
//! its identity (u32), the identity (32 bytes), its kind (u32), its edges (u32), and one class an
//! edge. Parts are named, so the order in which a process loaded its libraries does not matter. The
//! bytes may come from anywhere: everything is checked before anything is merged.

use hitmap_wire::identity::{self, Identity};
use hitmap_wire::modules::{COUNTERS, FLAGS, GUARDS};

use crate::abi::{E_BUILD, E_SIZE};
use crate::process::Process;
use crate::register::Part;

const MAGIC: &[u8; 8] = b"hitmap\0V";
const VERSION: u32 = 1;
const HEADER: usize = 16;
const PART: usize = 4 + identity::LEN + 8;

/// Bytes of [`write`].
pub fn size(process: &Process) -> usize {
    HEADER + counted(process).map(|(part, _)| PART + part.edges as usize).sum::<usize>()
}

/// Fills `out`, which has [`size`] bytes.
pub fn write(process: &Process, out: &mut [u8]) {
    let mut rest = out;
    put(&mut rest, MAGIC);
    put(&mut rest, &VERSION.to_le_bytes());
    put(&mut rest, &(counted(process).count() as u32).to_le_bytes());
    for (part, first) in counted(process) {
        let name = part.identity.as_bytes();
        put(&mut rest, &(name.len() as u32).to_le_bytes());
        put(&mut rest, name);
        put(&mut rest, &[0; identity::LEN][name.len()..]);
        put(&mut rest, &kind(part).to_le_bytes());
        put(&mut rest, &part.edges.to_le_bytes());
        put(&mut rest, &process.view.classes()[first..first + part.edges as usize]);
    }
}

fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (now, later) = std::mem::take(rest).split_at_mut(bytes.len());
    now.copy_from_slice(bytes);
    *rest = later;
}

/// Merges what another process wrote; merges nothing when it returns an error.
///
/// # Errors
/// `E_SIZE` when the bytes are not what [`write`] gave, `E_BUILD` when they speak of a library that
/// is not counted here.
pub fn merge(process: &mut Process, bytes: &[u8]) -> Result<(), i32> {
    let found = read(process, bytes)?;
    for (first, classes) in found {
        process.view.merge_at(first, classes);
    }
    Ok(())
}

/// The dense number of each part's first edge, and the classes.
fn read<'a>(process: &Process, bytes: &'a [u8]) -> Result<Vec<(usize, &'a [u8])>, i32> {
    let mut rest = bytes;
    if take(&mut rest, 8)? != MAGIC || word(&mut rest)? != VERSION {
        return Err(E_SIZE);
    }
    let mut found: Vec<(Option<Named<'_>>, &[u8])> = Vec::new();
    for _ in 0..word(&mut rest)? {
        let len = word(&mut rest)? as usize;
        let name = take(&mut rest, identity::LEN)?.get(..len).ok_or(E_SIZE)?;
        let (of_kind, edges) = (word(&mut rest)?, word(&mut rest)?);
        let classes = take(&mut rest, edges as usize)?;
        let same = |part: &Part| (part.identity, kind(part), part.edges) == (Identity::new(name), of_kind, edges);
        // Copies of one library are told apart by their order.
        let is_free = |first: usize| !found.iter().any(|(part, _)| part.is_some_and(|(_, taken)| taken == first));
        let copies = || counted(process).filter(|(part, _)| same(part));
        found.push((copies().find(|(_, first)| is_free(*first)).or_else(|| copies().next()), classes));
    }
    if !rest.is_empty() {
        return Err(E_SIZE);
    }
    found.into_iter().map(|(part, classes)| part.map(|(_, first)| (first, classes)).ok_or(E_BUILD)).collect()
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], i32> {
    let (now, later) = rest.split_at_checked(len).ok_or(E_SIZE)?;
    *rest = later;
    Ok(now)
}

fn word(rest: &mut &[u8]) -> Result<u32, i32> {
    let bytes = take(rest, 4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// A part, and the dense number of its first edge.
type Named<'a> = (&'a Part, usize);

/// Parts that have edges in the view.
fn counted(process: &Process) -> impl Iterator<Item = Named<'_>> {
    process.parts.iter().filter_map(|part| part.first.map(|first| (part, first)))
}

/// What tells the parts of one library apart; where a process keeps counters does not matter.
fn kind(part: &Part) -> u32 {
    part.kind & (COUNTERS | FLAGS | GUARDS)
}
