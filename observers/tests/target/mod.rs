//! A target that is a few lines of Rust: it joins the map as a process would, and counts by hand.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::os::fd::BorrowedFd;

use hitmap_observers::LiveMap;
use hitmap_wire::control::{NamedMap, parse_map_variable};
use hitmap_wire::identity::Identity;
use hitmap_wire::modules::{self, COUNTERS, FLAGS, GUARDS, Module, Refusal};
use hitmap_wire::named;
use hitmap_wire::region::Region;

/// The default instrumentation.
pub const INLINE: u32 = COUNTERS | FLAGS;
/// The one with a journal.
pub const JOURNAL: u32 = GUARDS;

/// A process that counts.
pub struct Target {
    pub region: Region,
}

impl Target {
    /// Joins as the variable in its environment says.
    pub fn join(map: &LiveMap) -> Target {
        let (_, value) = map.variable().expect("a map that others can join");
        let region = match parse_map_variable(&value).expect("a variable that the runtime reads") {
            // SAFETY: the map keeps the descriptor open.
            NamedMap::Descriptor(fd, token) => Region::attach(unsafe { BorrowedFd::borrow_raw(fd) }, token),
            NamedMap::Name(name) => named::open(&name),
        };
        Target { region: region.expect("a region") }
    }

    /// Loads a library.
    pub fn load(&self, name: &str, kind: u32, edges: u32) -> Result<Module, Refusal> {
        let identity = Identity::new(name.as_bytes());
        let path = format!("/lib/{name}.so");
        let mut module = Module { identity, path, kind, base: 0, edges, load_bias: 0, pc_table: 0 };
        module.base = modules::register(&self.region, &module)?;
        Ok(module)
    }

    /// Runs an edge.
    pub fn hit(&self, module: &Module, local: u32, times: u8) {
        let edge = module.base + local;
        // SAFETY: the tests' edges lie in the library's range.
        unsafe {
            let counter = self.region.counters().add(edge as usize);
            if module.kind & GUARDS != 0 && counter.read() == 0 {
                self.region.push_journal(edge);
            }
            counter.write(counter.read().wrapping_add(times));
            if module.kind & FLAGS != 0 {
                *self.region.flags().add(edge as usize) = 1;
            }
        }
    }

    /// Compares the input with a word, byte by byte, one edge a byte; true when all are the same.
    pub fn compare(&self, module: &Module, input: &[u8], word: &[u8]) -> bool {
        self.hit(module, 0, 1);
        for (at, byte) in word.iter().enumerate() {
            if input.get(at) != Some(byte) {
                return false;
            }
            self.hit(module, 1 + at as u32, 1);
        }
        true
    }
}
