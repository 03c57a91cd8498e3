//! Names for the raw addresses of a process: which library holds each, and what that library calls it.
//!
//! A library is opened once; one that cannot be read leaves its addresses as library and offset.

use std::collections::HashMap;

use hitmap_observers::places::{Named, Names};
use hitmap_wire::identity::Loaded;
use hitmap_wire::modules::Module;
use serde::{Deserialize, Serialize};

/// One place on the native stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The function, demangled; empty when it has no name.
    pub function: String,
    /// The source file; empty when it is not known.
    pub file: String,
    /// The line; 0 when it is not known.
    pub line: u32,
    /// The library's file.
    pub module: String,
    /// The address within that file.
    pub offset: u64,
    /// Whether the library is instrumented: one that the user set out to test.
    pub instrumented: bool,
}

/// Opens libraries once.
#[derive(Default)]
pub struct Symbolizer {
    names: HashMap<String, Option<Names>>,
}

impl Symbolizer {
    /// Names return addresses, innermost first. An address in inlined code gives several frames.
    pub fn frames(&mut self, addresses: &[u64], objects: &[Loaded], modules: &[Module]) -> Vec<Frame> {
        addresses.iter().flat_map(|address| self.at(*address, objects, modules)).collect()
    }

    fn at(&mut self, address: u64, objects: &[Loaded], modules: &[Module]) -> Vec<Frame> {
        let Some((path, bias, instrumented)) = library(address, objects, modules) else {
            return vec![Frame { offset: address, ..Frame::default() }];
        };
        let offset = address.wrapping_sub(bias);
        let bare = Frame { module: path.clone(), offset, instrumented, ..Frame::default() };
        let Some(names) = self.names.entry(path.clone()).or_insert_with(|| Names::open(&path)) else {
            return vec![bare];
        };
        // A return address is the instruction after the call, which may be another line's.
        let named = names.at(offset.wrapping_sub(1));
        if named.is_empty() {
            return vec![bare];
        }
        named.into_iter().map(|Named { function, file, line }| Frame { function, file, line, ..bare.clone() }).collect()
    }
}

fn library(address: u64, objects: &[Loaded], modules: &[Module]) -> Option<(String, u64, bool)> {
    let is_instrumented = |identity| modules.iter().any(|m| m.identity == identity);
    if let Some(object) = objects.iter().find(|o| (o.span.0..o.span.1).contains(&address)) {
        let path = String::from_utf8_lossy(&object.path).into_owned();
        return Some((path, object.bias, is_instrumented(object.identity)));
    }
    let nearest = modules.iter().filter(|m| m.load_bias != 0 && m.load_bias <= address).max_by_key(|m| m.load_bias)?;
    (address - nearest.load_bias < 1 << 32).then(|| (nearest.path.clone(), nearest.load_bias, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_program_has_its_name() {
        let here = a_function_of_this_program_has_its_name as fn() as usize as u64;
        let mut objects = hitmap_wire::identity::all_loaded();
        objects[0].path = std::env::current_exe().unwrap().to_string_lossy().as_bytes().to_vec();
        let frames = Symbolizer::default().frames(&[here + 1], &objects, &[]);
        assert!(frames[0].function.contains("a_function_of_this_program_has_its_name"), "{frames:?}");
        assert!(frames[0].file.ends_with("symbolize.rs"));
    }

    #[test]
    fn an_address_nowhere_stays_a_number() {
        let frames = Symbolizer::default().frames(&[5], &[], &[]);
        assert_eq!(frames, [Frame { offset: 5, ..Frame::default() }]);
    }
}
