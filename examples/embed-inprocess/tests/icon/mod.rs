//! The example's library in this process. Builds it by what it is given; knows nothing of maps.

use std::ffi::{CString, c_int};
use std::path::{Path, PathBuf};

/// The library, loaded; its file is gone by the end of the test.
pub struct Icon {
    read: unsafe extern "C" fn(*const u8, usize) -> c_int,
    _folder: tempfile::TempDir,
}

impl Icon {
    /// Builds and loads it, which brings the runtime.
    pub fn load(build: fn(&Path, &Path, &[&str]) -> PathBuf) -> Icon {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let library = folder.path().join("libicon.so");
        build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("icon.cpp"), &library, &["-shared"]);
        let path = CString::new(library.to_str().expect("a plain path")).expect("no NUL");
        // SAFETY: the library was built from a source that has this function, with this type.
        let read = unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
            assert!(!handle.is_null(), "{}", library.display());
            let symbol = libc::dlsym(handle, c"read_icon".as_ptr());
            assert!(!symbol.is_null(), "{} has no read_icon", library.display());
            std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(*const u8, usize) -> c_int>(symbol)
        };
        Icon { read, _folder: folder }
    }

    /// What the library says of the bytes.
    pub fn read(&self, bytes: &[u8]) -> c_int {
        // SAFETY: the library is never unloaded, and reads so many bytes, which are there.
        unsafe { (self.read)(bytes.as_ptr(), bytes.len()) }
    }
}
