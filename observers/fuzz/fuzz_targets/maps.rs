//! libFuzzer makes up saved maps; `hitmap_parser` says what must hold of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hitmap_parser::check(data));
