//! Names for the raw addresses of a process: which library holds each, and what that library calls it.
//!
//! A library is opened once; one that cannot be read leaves its addresses as library and offset. An address
//! that lies in no library stays a bare number.

use std::collections::HashMap;

use hitmap_observers::places::{Named, Names};
use hitmap_wire::identity::Loaded;
use hitmap_wire::modules::Module;
use serde::{Deserialize, Serialize};

use super::owner::{self, Owner};
use super::raw::within;

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
    /// Where the function begins within that file; 0 when it is not known. For inlined code, the function that it
    /// was inlined into.
    #[serde(default)]
    pub start: u64,
    /// Whether the library is instrumented: one that the user set out to test.
    pub instrumented: bool,
    /// Whose code it is.
    #[serde(default)]
    pub owner: Owner,
    /// Whether the function never returns: it ends the process, or throws.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noreturn: bool,
    /// Whether the source is a header of a folder that was given by `-isystem`.
    #[serde(skip)]
    pub is_foreign: bool,
    /// The number of the return address that it comes from: inlined code gives several frames for one.
    #[serde(skip)]
    pub address: usize,
}

/// Opens libraries once.
#[derive(Default)]
pub struct Symbolizer {
    names: HashMap<String, Option<Names>>,
}

impl Symbolizer {
    /// Names return addresses, innermost first. An address in inlined code gives several frames.
    pub fn frames(&mut self, addresses: &[u64], objects: &[Loaded], modules: &[Module]) -> Vec<Frame> {
        let numbered = addresses.iter().enumerate();
        numbered.flat_map(|(number, address)| self.at(number, *address, objects, modules)).collect()
    }

    fn at(&mut self, number: usize, address: u64, objects: &[Loaded], modules: &[Module]) -> Vec<Frame> {
        let Some((object, offset)) = within(address, objects) else {
            return vec![Frame { offset: address, address: number, ..Frame::default() }];
        };
        let path = String::from_utf8_lossy(&object.path);
        let instrumented = modules.iter().any(|m| m.identity == object.identity);
        // A return address is the instruction after the call, which may be another line's.
        let frames = self.in_file(&path, offset.wrapping_sub(1), instrumented);
        frames.into_iter().map(|frame| Frame { offset, address: number, ..frame }).collect()
    }

    /// Names an address within a library's file.
    pub fn in_file(&mut self, path: &str, offset: u64, instrumented: bool) -> Vec<Frame> {
        let names = self.names.entry(path.to_string()).or_insert_with(|| Names::open(path)).as_ref();
        let found = names.map(|names| names.find(offset)).unwrap_or_default();
        let start = found.start.unwrap_or(0);
        let noreturn = found.is_noreturn && !found.named.iter().any(|named| is_cold_part(&named.function));
        let bare = Frame { module: path.into(), offset, start, instrumented, noreturn, ..Frame::default() };
        let mut frames: Vec<Frame> = match found.named.is_empty() {
            true => vec![bare],
            false => found
                .named
                .into_iter()
                .map(|Named { function, file, line, is_foreign }| Frame {
                    function,
                    file,
                    line,
                    is_foreign,
                    ..bare.clone()
                })
                .collect(),
        };
        frames.iter_mut().for_each(|frame| frame.owner = owner::of(frame));
        frames
    }
}

/// GCC moves what is rarely run out of a function, and what is moved has no return of its own.
fn is_cold_part(function: &str) -> bool {
    function.ends_with(".cold") || function.contains("[clone .cold")
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
        assert_eq!(frames[0].start, here - objects[0].bias);
    }

    #[test]
    fn an_address_nowhere_stays_a_number() {
        let frames = Symbolizer::default().frames(&[5], &[], &[]);
        assert_eq!(frames, [Frame { offset: 5, ..Frame::default() }]);
    }
}
