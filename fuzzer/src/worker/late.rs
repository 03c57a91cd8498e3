//! Libraries that a child loaded after it wrote its list of files: where they lie, by the module table.
//!
//! The list is written between batches, and a library may come and crash within one. A module's record has
//! where it begins; how long it is stands in its file.

use std::collections::HashMap;
use std::path::Path;

use hitmap_wire::identity::{Identity, Loaded};
use hitmap_wire::modules::Module;
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSegment, ReadCache};

use crate::disk;

/// What libraries take up in memory, read from each file once.
#[derive(Debug, Default)]
pub struct Late {
    spans: HashMap<Identity, Option<(u64, u64)>>,
}

impl Late {
    /// Adds to a child's list the instrumented libraries that it lacks.
    pub fn complete(&mut self, listed: &mut Vec<Loaded>, modules: &[Module]) {
        for module in modules.iter().filter(|m| m.load_bias != 0) {
            if listed.iter().any(|o| (o.identity, o.bias) == (module.identity, module.load_bias)) {
                continue;
            }
            let span = *self.spans.entry(module.identity).or_insert_with(|| span_of_file(&module.path));
            let Some((start, end)) = span else { continue };
            listed.push(Loaded {
                path: module.path.clone().into_bytes(),
                bias: module.load_bias,
                span: (module.load_bias.wrapping_add(start), module.load_bias.wrapping_add(end)),
                identity: module.identity,
            });
        }
    }
}

/// The first address of a library's segments and one past the last, in the file's own numbers.
fn span_of_file(path: &str) -> Option<(u64, u64)> {
    let (file, _) = disk::open(Path::new(path)).ok()?;
    let cache = ReadCache::new(file);
    let file: ElfFile64<'_, LittleEndian, _> = ElfFile64::parse(&cache).ok()?;
    let start = file.segments().map(|s| s.address()).min()?;
    let end = file.segments().map(|s| s.address().saturating_add(s.size())).max()?;
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_listed_gets_the_span_that_the_loader_gave_it() {
        let all = hitmap_wire::identity::all_loaded();
        let libc = all.iter().find(|o| o.path.windows(7).any(|w| w == b"libc.so")).unwrap();
        let module = Module {
            identity: libc.identity,
            path: String::from_utf8(libc.path.clone()).unwrap(),
            kind: 0,
            base: 4096,
            edges: 1,
            load_bias: libc.bias,
            pc_table: 0,
        };
        let modules =
            [module.clone(), Module { load_bias: 0, ..module.clone() }, Module { path: "/x".into(), ..module }];
        let mut listed = Vec::new();
        Late::default().complete(&mut listed, &modules);
        assert_eq!(&listed, std::slice::from_ref(libc));
        Late::default().complete(&mut listed, &modules);
        assert_eq!(listed.len(), 1, "what is listed is not added");
        Late::default().complete(&mut listed, &[Module { path: "/x".into(), load_bias: 1, ..modules[0].clone() }]);
        assert_eq!(listed.len(), 1, "a file that is gone says nothing");
    }
}
