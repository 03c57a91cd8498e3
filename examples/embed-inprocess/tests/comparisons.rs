//! What a library that is really instrumented compares.

mod built;

use std::ffi::{CString, c_int};
use std::path::Path;

use hitmap_observers::{ComparisonObserver, LiveMap};
use libafl::HasMetadata;
use libafl::corpus::InMemoryCorpus;
use libafl::executors::ExitKind;
use libafl::inputs::BytesInput;
use libafl::observers::Observer;
use libafl::observers::cmp::{CmpValues, CmpValuesMetadata};
use libafl::state::StdState;
use libafl_bolts::rands::StdRand;

#[test]
fn a_magic_byte_reaches_libafl() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().join("libicon.so");
    built::comparing(&Path::new(env!("CARGO_MANIFEST_DIR")).join("icon.cpp"), &library, &["-shared"]);
    let path = CString::new(library.to_str().expect("a plain path")).expect("no NUL");
    // SAFETY: the library was built from a source that has this function; loading it brings the runtime.
    let read_icon = unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!handle.is_null(), "{}", library.display());
        let symbol = libc::dlsym(handle, c"read_icon".as_ptr());
        std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(*const u8, usize) -> c_int>(symbol)
    };
    let map = LiveMap::of_this_process(1 << 16).expect("a map");
    let mut observer = ComparisonObserver::new("comparisons", &map);
    let corpora = (InMemoryCorpus::<BytesInput>::new(), InMemoryCorpus::new());
    let mut state = StdState::new(StdRand::with_seed(1), corpora.0, corpora.1, &mut (), &mut ()).expect("a state");
    let input = BytesInput::new(b"ZC\x01\x02\x03".to_vec());
    observer.pre_exec(&mut state, &input).expect("the log is on");
    // SAFETY: the function reads so many bytes, which are there.
    unsafe { read_icon(b"ZC\x01\x02\x03".as_ptr(), 5) };
    observer.post_exec(&mut state, &input, &ExitKind::Ok).expect("the log is read");
    let list = &state.metadata::<CmpValuesMetadata>().expect("comparisons").list;
    let magic =
        |value: &CmpValues| matches!(value, CmpValues::U8((a, b, _)) if [*a, *b] == *b"IZ" || [*a, *b] == *b"ZI");
    assert!(list.iter().any(magic), "{list:?}");
}
