//! Names for raw addresses: function, file and line, from the library's own debug information.
//!
//! The `addr2line` crate reads DWARF, and the symbol table where there is none. A library is opened
//! once; one that cannot be read leaves its addresses as library and offset.

use std::collections::HashMap;

use addr2line::Loader;
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
    loaders: HashMap<String, Option<Loader>>,
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
        let Some(loader) = self.loaders.entry(path.clone()).or_insert_with(|| Loader::new(&path).ok()) else {
            return vec![bare];
        };
        // A return address is the instruction after the call, which may be another line's.
        let probe = offset.wrapping_sub(1);
        let mut frames = Vec::new();
        if let Ok(mut inlined) = loader.find_frames(probe) {
            while let Ok(Some(frame)) = inlined.next() {
                let function = frame.function.as_ref().and_then(|f| f.demangle().ok().map(|n| n.into_owned()));
                let file = frame.location.as_ref().and_then(|l| l.file).unwrap_or_default().to_string();
                let line = frame.location.as_ref().and_then(|l| l.line).unwrap_or(0);
                frames.push(Frame { function: function.unwrap_or_default(), file, line, ..bare.clone() });
            }
        }
        frames.retain(|frame| !frame.function.is_empty());
        if frames.is_empty() {
            let function = loader.find_symbol(probe).map(demangle).unwrap_or_default();
            frames.push(Frame { function, ..bare });
        }
        frames
    }
}

fn demangle(symbol: &str) -> String {
    addr2line::demangle_auto(symbol.into(), None).into_owned()
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
