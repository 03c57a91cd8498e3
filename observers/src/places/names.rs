//! Names for addresses within a library's file: function, file and line.
//!
//! The `addr2line` crate reads DWARF, and the symbol table where there is none. A symbol names an address
//! only if both lie in one function: in a stripped library the symbol before an address is mostly that
//! of another function.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use addr2line::Loader;
use addr2line::gimli::DwLang;

use super::functions::Functions;

/// What one address is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The function, demangled.
    pub function: String,
    /// The source file; empty when it is not known.
    pub file: String,
    /// The line; 0 when it is not known.
    pub line: u32,
    /// Whether the file is a header of a folder that was given by `-isystem`.
    pub is_foreign: bool,
}

/// All that a file says of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The functions that hold it, innermost first: one, and those that it was inlined into. Empty when none has
    /// a name.
    pub named: Vec<Named>,
    /// Where the function that is not inlined begins; `None` when the file does not say.
    pub start: Option<u64>,
    /// Whether that function never returns: it ends the process, or throws.
    pub is_noreturn: bool,
    /// Its symbol as the linker knows it; `None` in a stripped file.
    pub symbol: Option<String>,
}

/// One library's debug information.
pub struct Names {
    loader: Loader,
    functions: Functions,
    /// By the names in the file: many edges share a function, and a template's name takes longer to
    /// demangle than all the rest.
    demangled: RefCell<HashMap<String, String>>,
}

impl Names {
    /// Opens a library's file; `None` when it cannot be read, or is no file.
    pub fn open(path: impl AsRef<Path>) -> Option<Names> {
        let path = path.as_ref();
        // Opening a pipe would wait for a writer.
        if !std::fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let loader = Loader::new(path).ok()?;
        Some(Names { loader, functions: Functions::read(path), demangled: RefCell::default() })
    }

    /// The functions that hold `address`, innermost first: one, and those it was inlined into.
    /// Empty when none has a name.
    pub fn at(&self, address: u64) -> Vec<Named> {
        self.find(address).named
    }

    /// The functions that hold `address`, and where the outermost of them begins.
    pub fn find(&self, address: u64) -> Found {
        let function = self.functions.holding(address);
        let holds = |at: u64| function.is_none_or(|(start, end)| (start..end).contains(&at));
        let symbol = self.loader.find_symbol_info(address).filter(|symbol| holds(symbol.address()));
        let start = function.map(|(start, _)| start).or(symbol.as_ref().map(|symbol| symbol.address()));
        let raw = symbol.as_ref().map(|symbol| symbol.name().to_owned());
        let symbol = symbol.map(|symbol| self.demangled(symbol.name(), None));
        let mut named = Vec::new();
        if let Ok(mut inlined) = self.loader.find_frames(address) {
            while let Ok(Some(frame)) = inlined.next() {
                let function = frame.function.as_ref();
                let function = function.and_then(|f| Some(self.demangled(&f.raw_name().ok()?, f.language)));
                let recorded = frame.location.as_ref().and_then(|l| l.file).unwrap_or_default();
                let (file, is_foreign) = (path(recorded), is_marked(recorded));
                let line = frame.location.as_ref().and_then(|l| l.line).unwrap_or(0);
                named.push(Named { function: function.unwrap_or_default(), file, line, is_foreign });
            }
        }
        // Line tables alone (-gline-tables-only) name functions without namespace and arguments, and
        // only those that something was inlined into. The symbol has the whole name of the outermost.
        match (named.last_mut(), symbol) {
            (Some(outermost), Some(symbol)) if symbol.contains(&outermost.function) => outermost.function = symbol,
            (None, Some(function)) => named.push(Named { function, ..Named::default() }),
            _ => {}
        }
        named.retain(|frame| !frame.function.is_empty());
        let is_noreturn = function.is_some_and(|range| !self.functions.can_return(range));
        Found { named, start, is_noreturn, symbol: raw }
    }

    fn demangled(&self, name: &str, language: Option<DwLang>) -> String {
        let mut known = self.demangled.borrow_mut();
        if let Some(demangled) = known.get(name) {
            return demangled.clone();
        }
        let demangled = if is_mangled(name) {
            addr2line::demangle_auto(name.into(), language).into_owned()
        } else {
            name.to_owned()
        };
        known.insert(name.to_owned(), demangled.clone());
        demangled
    }
}

/// Whether it is a symbol of C++ or Rust. A C function may be called `f`, which is also how C++ abbreviates
/// `float`.
fn is_mangled(name: &str) -> bool {
    ["_Z", "__Z", "_R", "___Z"].iter().any(|start| name.starts_with(start))
}

/// A symbol's name as the source has it; what is not mangled stays as it is.
pub fn demangled(symbol: &str) -> String {
    if is_mangled(symbol) { addr2line::demangle_auto(symbol.into(), None).into_owned() } else { symbol.to_owned() }
}

/// Whether the compiler wrapper marked the folder as one of somebody else's headers: it has `DIR/../DIR` recorded
/// for what `-isystem DIR` names.
fn is_marked(recorded: &str) -> bool {
    recorded.match_indices("/../").any(|(at, up)| {
        let before = recorded[..at].rsplit('/').next().unwrap_or_default();
        let after = recorded[at + up.len()..].split('/').next().unwrap_or_default();
        !before.is_empty() && before == after
    })
}

/// Where `hitmap build` records the sources of a package, whose real folder is temporary: below a
/// folder that need not exist, as debug information joins a path that does not begin at the root to
/// the folder of the compilation.
const PACKAGES: &str = "/hitmap-build/";

/// A source file's path, from debug information: without that folder, and without `.` and `..`,
/// which say from where the compiler was started.
fn path(recorded: &str) -> String {
    let absolute = recorded.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in recorded.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match parts.last() {
            Some(last) if part == ".." && *last != ".." => {
                parts.pop();
            }
            // Nothing lies above the root.
            None if part == ".." && absolute => {}
            _ => parts.push(part),
        }
    }
    let plain = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
    plain.strip_prefix(PACKAGES).map_or(plain.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_where_the_source_is_and_not_where_the_compiler_was() {
        for (recorded, expect) in [
            ("/src/a.c", "/src/a.c"),
            ("a.c", "a.c"),
            ("", ""),
            ("/src/./lib/../a.c", "/src/a.c"),
            ("/../a.c", "/a.c"),
            ("../a.c", "../a.c"),
            ("../../src/../a.c", "../../a.c"),
            ("././src//a.c", "src/a.c"),
            ("/hitmap-build/lib/build/../src/a.c", "lib/src/a.c"),
            ("/hitmap-build/lib/src/a.c", "lib/src/a.c"),
            ("/hitmap-build/lib/lib/a.c", "lib/lib/a.c"),
            ("/hitmap-build/lib/.mesonpy/../size.c", "lib/size.c"),
            ("/hitmap-builder/a.c", "/hitmap-builder/a.c"),
        ] {
            assert_eq!(path(recorded), expect, "{recorded}");
        }
    }

    #[test]
    fn a_function_of_this_program_has_its_name() {
        let address = a_function_of_this_program_has_its_name as fn() as usize;
        let bias = hitmap_wire::identity::holding(address).unwrap().bias;
        let frames = Names::open(std::env::current_exe().unwrap()).unwrap().at(address as u64 - bias);
        assert!(frames[0].function.contains("a_function_of_this_program_has_its_name"), "{frames:?}");
        assert!(frames[0].file.ends_with("names.rs") && frames[0].line > 0, "{frames:?}");
    }

    #[test]
    fn headers_of_others_are_known_by_the_wrappers_mark() {
        for (recorded, marked) in [
            ("/s/deps/fmt/include/../include/fmt/core.h", true),
            ("deps/../deps/core.h", true),
            ("/s/../src/own.h", false),
            ("/s/a/../../a/own.h", false),
            ("/../x.h", false),
            ("", false),
        ] {
            assert_eq!(is_marked(recorded), marked, "{recorded}");
        }
    }

    #[test]
    fn only_mangled_names_are_demangled() {
        let names = Names::open(std::env::current_exe().unwrap()).unwrap();
        for (name, demangled) in [("f", "f"), ("i", "i"), ("Ss", "Ss"), ("PKc", "PKc"), ("v", "v"), ("_Z1fi", "f(int)")]
        {
            assert_eq!(names.demangled(name, None), demangled);
        }
    }

    #[test]
    fn an_address_without_a_name_has_none() {
        // Low ones may have: debug information places code that the linker dropped at 0.
        assert_eq!(Names::open(std::env::current_exe().unwrap()).unwrap().at(1 << 60), []);
    }
}
