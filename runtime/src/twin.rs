//! A map for one run: a forked child counts into memory that its parent reads, however it ends.
//!
//! The parent makes a [`twin`] of its own map, a memory file of the same size. The child, right after
//! the fork, puts it in the place of the map that it inherited ([`enter`]): at the same address and
//! with the same ranges, so no guard is numbered anew, nothing is copied, and the cost does not grow
//! with the number of edges. Unlike `attach`, nothing that was counted before moves along: map and
//! view begin empty. Clearing the twin before the next run is the
//! parent's business.

use std::io;
use std::os::fd::OwnedFd;

use hitmap_wire::modules::{self, GUARDS, IN_PLACE};
use hitmap_wire::region::{Region, fresh_token};

use crate::inline::{self, each_touched};
use crate::process::{Live, Process};
use crate::register::Part;
use crate::say;

/// Makes an empty region of the size of this process's, and the token that names it.
///
/// # Errors
/// When the system refuses the memory.
pub fn twin(process: &mut Process) -> io::Result<(OwnedFd, u64)> {
    let live = process.live().ok_or(io::ErrorKind::OutOfMemory)?;
    let token = fresh_token();
    let capacity = live.region.layout().capacity;
    // A region for so many edges has a page more: that of edge 0.
    let (fd, _) = Region::create(capacity - hitmap_wire::PAGE as u32, token, 0)?;
    Ok((fd, token))
}

/// Puts `twin`, which must be empty, in the place of this process's region. To be called in a child
/// that was just forked: no other thread runs.
///
/// # Errors
/// When the sizes differ, or the system refuses; then the process counts where it did.
pub fn enter(process: &mut Process, twin: &Region) -> io::Result<()> {
    let live = process.live().ok_or(io::ErrorKind::OutOfMemory)?;
    if twin.layout() != live.region.layout() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    modules::copy(live.region, twin);
    live.region.replace_by(twin)?;
    process.now_shared();
    process.view.start_anew();
    for part in process.parts.iter_mut().filter(|part| part.counted()) {
        move_over(part, live);
        let edges = part.edges as usize;
        part.seen = [vec![0; edges], vec![0; edges]];
    }
    Ok(())
}

fn move_over(part: &mut Part, live: Live) {
    if !part.alive || part.kind & GUARDS != 0 {
        return;
    }
    let sections = [(part.counters, live.region.counters()), (part.flags, live.region.flags())];
    part.moved = part.kind & IN_PLACE == 0;
    for (section, plane) in sections.into_iter().filter(|(section, _)| !section.is_null()) {
        // SAFETY: the library is loaded, its arrays have `edges` bytes. Those that are not in place
        // have pages of their own, laid out as the planes are; the region is shared.
        unsafe {
            if part.kind & IN_PLACE != 0 {
                // What the parent counted and did not look at yet is not of this run.
                each_touched(section, part.edges as usize, true, |_, _| {});
            } else {
                part.moved &= inline::map_over(section, plane.add(part.base as usize), part.edges as usize);
            }
        }
    }
    if !part.moved && part.kind & IN_PLACE == 0 {
        say::line(format_args!(
            "{}: the system refuses to move its counters; this run has no coverage of it",
            part.path
        ));
    }
}
