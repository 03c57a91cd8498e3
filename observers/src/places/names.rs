//! Names for addresses within a library's file: function, file and line.
//!
//! The `addr2line` crate reads DWARF, and the symbol table where there is none.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use addr2line::Loader;
use addr2line::gimli::DwLang;

use crate::disk;

/// What one address is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The function, demangled.
    pub function: String,
    /// The source file; empty when it is not known.
    pub file: String,
    /// The line; 0 when it is not known.
    pub line: u32,
}

/// One library's debug information.
pub struct Names {
    loader: Loader,
    /// By the names in the file: many edges share a function, and a template's name takes longer to
    /// demangle than all the rest.
    demangled: RefCell<HashMap<String, String>>,
}

impl Names {
    /// Opens a library's file; `None` when it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Option<Names> {
        // The path may be a target's word for what it has loaded.
        disk::open(path.as_ref()).ok()?;
        Some(Names { loader: Loader::new(path).ok()?, demangled: RefCell::default() })
    }

    /// The functions that hold `address`, innermost first: one, and those it was inlined into.
    /// Empty when none has a name.
    pub fn at(&self, address: u64) -> Vec<Named> {
        let symbol = self.loader.find_symbol(address).map(|name| self.demangled(name, None));
        let mut frames = Vec::new();
        if let Ok(mut inlined) = self.loader.find_frames(address) {
            while let Ok(Some(frame)) = inlined.next() {
                let named = frame.function.as_ref().and_then(|f| Some(self.demangled(&f.raw_name().ok()?, f.language)));
                let file = frame.location.as_ref().and_then(|l| l.file).unwrap_or_default().to_string();
                let line = frame.location.as_ref().and_then(|l| l.line).unwrap_or(0);
                frames.push(Named { function: named.unwrap_or_default(), file, line });
            }
        }
        // Line tables alone (-gline-tables-only) name functions without namespace and arguments, and
        // only those that something was inlined into. The symbol has the whole name of the outermost.
        match (frames.last_mut(), symbol) {
            (Some(outermost), Some(symbol)) if symbol.contains(&outermost.function) => outermost.function = symbol,
            (None, Some(function)) => frames.push(Named { function, ..Named::default() }),
            _ => {}
        }
        frames.retain(|frame| !frame.function.is_empty());
        frames
    }

    fn demangled(&self, name: &str, language: Option<DwLang>) -> String {
        let mut known = self.demangled.borrow_mut();
        if let Some(demangled) = known.get(name) {
            return demangled.clone();
        }
        let demangled = addr2line::demangle_auto(name.into(), language).into_owned();
        known.insert(name.to_owned(), demangled.clone());
        demangled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_program_has_its_name() {
        let address = a_function_of_this_program_has_its_name as fn() as usize;
        let bias = hitmap_wire::identity::holding(address).unwrap().bias;
        let frames = Names::open(std::env::current_exe().unwrap()).unwrap().at(address as u64 - bias);
        assert!(frames[0].function.contains("a_function_of_this_program_has_its_name"), "{frames:?}");
        assert!(frames[0].file.ends_with("names.rs") && frames[0].line > 0, "{frames:?}");
    }

    #[test]
    fn an_address_without_a_name_has_none() {
        // Low ones may have: debug information places code that the linker dropped at 0.
        assert_eq!(Names::open(std::env::current_exe().unwrap()).unwrap().at(1 << 60), []);
    }
}
