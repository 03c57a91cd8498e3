//! Functions instead of edges, of a library that is really instrumented.

mod built;

use std::ffi::{CString, c_int};
use std::path::Path;

use hitmap_observers::{EdgeObserver, LiveMap};

#[test]
fn a_function_counts_as_often_as_it_is_entered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().join("libicon.so");
    built::instrumented(&Path::new(env!("CARGO_MANIFEST_DIR")).join("icon.cpp"), &library, &["-shared"]);
    let path = CString::new(library.to_str().expect("a plain path")).expect("no NUL");
    // SAFETY: the library was built from a source that has this function; loading it brings the runtime.
    let read_icon = unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!handle.is_null(), "{}", library.display());
        let symbol = libc::dlsym(handle, c"read_icon".as_ptr());
        std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(*const u8, usize) -> c_int>(symbol)
    };
    let map = LiveMap::of_this_process(1 << 16).expect("a map");
    let mut observer = EdgeObserver::of_functions("functions", &map).expect("an observer");
    observer.clear().expect("functions are told apart");
    for input in [&b"IC"[..], b"IC\x01\x02\x03abcdef"] {
        // SAFETY: the function reads so many bytes, which are there.
        unsafe { read_icon(input.as_ptr(), input.len()) };
    }
    observer.take().expect("the map is read");
    let hits: Vec<(u32, u8)> = observer.run().hits().collect();
    assert_eq!(hits, [(map.modules()[0].base, 2)], "one function, entered twice");
    assert!(map.edges() > 3);
}
