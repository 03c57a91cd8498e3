//! Regions with a POSIX name: for a target that somebody else starts, and starts again.
//!
//! Whoever fuzzes makes the region and keeps it; a target that is started with `HITMAP_MAP=/name` joins
//! it, as often as it likes. A library finds the range that it had, because ranges go by identity.
//!
//! The object belongs to the user who made it, and nobody else may open it. It stays until it is
//! removed, or the machine restarts.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::mapping;
use crate::region::{AttachError, Region};

/// The name of a shared memory object: a slash, and at least one other character that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapName(CString);

impl MapName {
    /// Takes `/name`; `None` for anything that `shm_open(3)` does not promise to accept everywhere.
    ///
    /// ```
    /// use hitmap_wire::named::MapName;
    /// assert_eq!(MapName::new("/server").unwrap().as_str(), "/server");
    /// assert!(["server", "/", "", "/a/b", "/a\0"].into_iter().all(|name| MapName::new(name).is_none()));
    /// ```
    pub fn new(name: &str) -> Option<MapName> {
        let rest = name.strip_prefix('/')?;
        if rest.is_empty() || rest.contains('/') || rest.len() > 250 {
            return None;
        }
        CString::new(name).ok().map(MapName)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("")
    }

    fn open(&self, flags: libc::c_int) -> io::Result<OwnedFd> {
        let name: &CStr = &self.0;
        // SAFETY: the name is a C string, and the mode is read when the object is made.
        let fd = unsafe { libc::shm_open(name.as_ptr(), flags | libc::O_CLOEXEC, 0o600 as libc::mode_t) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above made this descriptor and nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Joins the region of that name.
///
/// # Errors
/// [`AttachError::Io`] when there is none, or it is not ours to open; otherwise as
/// [`Region::attach`], any token being welcome.
pub fn open(name: &MapName) -> Result<Region, AttachError> {
    let fd = name.open(libc::O_RDWR).map_err(AttachError::Io)?;
    Region::attach_any(fd.as_fd())
}

/// Makes a region of that name for `edges` edges, or joins the one that is there.
///
/// # Errors
/// [`AttachError::Small`] when the one that is there holds fewer edges; otherwise as [`open`].
pub fn open_or_create(name: &MapName, edges: u32, mode: u32) -> Result<Region, AttachError> {
    match name.open(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) {
        Ok(fd) => {
            let made = Region::create_in(fd.as_fd(), edges, crate::region::fresh_token(), mode);
            if made.is_err() {
                let _ = remove(name);
            }
            made.map_err(AttachError::Io)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let region = open(name)?;
            let wanted = crate::region::Layout::for_edges(edges).map_or(u32::MAX, |layout| layout.capacity);
            let edges = region.layout().capacity;
            if edges < wanted { Err(AttachError::Small { edges }) } else { Ok(region) }
        }
        Err(e) => Err(AttachError::Io(e)),
    }
}

/// Removes the name. Processes that have joined keep the region until they end.
///
/// # Errors
/// What `shm_unlink(3)` reports.
pub fn remove(name: &MapName) -> io::Result<()> {
    // SAFETY: the name is a C string.
    if unsafe { libc::shm_unlink(name.0.as_ptr()) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the length of a new object.
pub(crate) fn set_len(fd: std::os::fd::BorrowedFd<'_>, len: usize) -> io::Result<()> {
    // SAFETY: `fd` is open.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) } < 0 {
        return Err(io::Error::last_os_error());
    }
    debug_assert_eq!(mapping::file_len(fd).ok(), Some(len));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::modules::{self, COUNTERS, Module};

    fn fresh(what: &str) -> MapName {
        MapName::new(&format!("/hitmap-test-{what}-{}", std::process::id())).unwrap()
    }

    #[test]
    fn a_named_region_keeps_its_ranges_for_whoever_comes() {
        let name = fresh("ranges");
        let module = |id: &[u8]| Module {
            identity: Identity::new(id),
            path: String::new(),
            kind: COUNTERS,
            base: 0,
            edges: 5000,
            load_bias: 0,
            pc_table: 0,
        };
        let first = open_or_create(&name, 100_000, 0).unwrap();
        let base = modules::register(&first, &module(b"a")).unwrap();
        drop(first);
        let again = open_or_create(&name, 100_000, 0).unwrap();
        assert_ne!(modules::register(&again, &module(b"b")).unwrap(), base);
        assert_eq!(modules::register(&open(&name).unwrap(), &module(b"a")), Ok(base));
        assert!(matches!(open_or_create(&name, 1_000_000, 0), Err(AttachError::Small { .. })));
        remove(&name).unwrap();
        assert!(matches!(open(&name), Err(AttachError::Io(_))));
    }

    #[test]
    fn an_object_that_is_no_region_is_refused() {
        let name = fresh("foreign");
        let fd = name.open(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL).unwrap();
        assert!(matches!(open_or_create(&name, 1, 0), Err(AttachError::NotARegion)));
        set_len(fd.as_fd(), 1 << 20).unwrap();
        assert!(matches!(open(&name), Err(AttachError::NotARegion)));
        remove(&name).unwrap();
    }
}
