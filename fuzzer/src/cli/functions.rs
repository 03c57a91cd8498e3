//! The functions that a snapshot hit, by name, for `hitmap show`.
//!
//! Owns the counting and the printing; names are [`hitmap_observers::places`]'s. A library whose
//! file is gone or was rebuilt costs a sentence, not the command.

use std::collections::BTreeMap;

use hitmap_observers::places::{Library, PlacesError};
use hitmap_observers::snapshot::{ModuleMap, Snapshot};

use super::maps;
use crate::launcher::screen::grouped;

/// How many functions are listed without `--functions`.
const FEW: usize = 20;

/// One function of one source file; inlined code belongs to the function that the source has it in. Its
/// edges are those in code that was entered: a copy that was inlined where nothing ran is left out.
struct Function {
    name: String,
    file: String,
    /// Where it begins, or its first line that has an edge; 0 when no line is known.
    line: u32,
    edges: u64,
    hits: u64,
}

#[derive(Default)]
struct Counted {
    edges: u64,
    hits: u64,
    /// The smallest, that of the entry before all others.
    line: Option<(bool, u32)>,
}

/// The edges of the compiled functions that were entered, in order. A name costs microseconds, and of
/// millions of edges most lie where nothing ran.
fn entered(library: &Library, module: &ModuleMap) -> Vec<u32> {
    let (edges, mut next, mut all) = (module.id().edges, 0, Vec::new());
    for hit in module.hits().iter().map(|hit| hit.edge) {
        if hit < next {
            continue;
        }
        let start = (next..=hit).rev().find(|edge| library.is_entry(*edge)).unwrap_or(next);
        next = (hit + 1..edges).find(|edge| library.is_entry(*edge)).unwrap_or(edges);
        all.extend(start..next);
    }
    all
}

/// A module's functions with hits, those with the most first.
fn hit(module: &ModuleMap) -> Result<Vec<Function>, PlacesError> {
    let library = Library::of(module.id())?;
    let mut functions = BTreeMap::<(String, String), Counted>::new();
    let mut hits = module.hits().iter().map(|hit| hit.edge).peekable();
    for edge in entered(&library, module) {
        let Some(place) = library.place(edge) else { break };
        let counted = functions.entry((place.function, place.file)).or_default();
        counted.edges += 1;
        counted.hits += u64::from(hits.next_if_eq(&edge).is_some());
        if place.line != 0 {
            let line = (!place.entry, place.line);
            counted.line = Some(counted.line.map_or(line, |best| best.min(line)));
        }
    }
    let hit = functions.into_iter().filter(|(_, counted)| counted.hits != 0);
    let mut hit: Vec<Function> = hit
        .map(|((name, file), Counted { edges, hits, line })| Function {
            name,
            file,
            line: line.map_or(0, |(_, line)| line),
            edges,
            hits,
        })
        .collect();
    hit.sort_by(|a, b| (b.hits, &a.name, &a.file).cmp(&(a.hits, &b.name, &b.file)));
    Ok(hit)
}

/// The modules that have hits, each with its functions.
fn of(snapshot: &Snapshot) -> impl Iterator<Item = (&ModuleMap, Result<Vec<Function>, PlacesError>)> {
    snapshot.modules().iter().filter(|module| !module.hits().is_empty()).map(|module| (module, hit(module)))
}

/// A table of functions, all of them or few, and a sentence for every library without names.
pub fn text(snapshot: &Snapshot, all: bool) -> String {
    let (mut functions, mut unnamed) = (Vec::new(), String::new());
    for (module, found) in of(snapshot) {
        match found {
            Ok(found) => functions.extend(found.into_iter().map(|function| (function, maps::name(module.id())))),
            Err(error) => unnamed.push_str(&format!("functions not named: {}\n", maps::printable(&error.to_string()))),
        }
    }
    functions.sort_by_key(|(function, _)| std::cmp::Reverse(function.hits));
    let shown = if all { functions.len() } else { functions.len().min(FEW) };
    let mut rows = vec![["hits", "edges", "module", "source", "function"].map(str::to_owned)];
    rows.extend(functions[..shown].iter().map(|(function, module)| {
        let name = if function.name.is_empty() { "(no name)".to_owned() } else { maps::printable(&function.name) };
        let source = match (function.file.as_str(), function.line) {
            ("", _) => "-".to_owned(),
            (file, 0) => maps::printable(file),
            (file, line) => format!("{}:{line}", maps::printable(file)),
        };
        [grouped(function.hits), grouped(function.edges), module.clone(), source, name]
    }));
    let mut text = if functions.is_empty() { String::new() } else { maps::table(&rows, 2) };
    if shown < functions.len() {
        text.push_str(&format!(
            "and {} more functions: --functions lists all\n",
            grouped((functions.len() - shown) as u64)
        ));
    }
    text + &unnamed
}

/// For each module with hits, by identity: its functions, or why they are not named.
pub fn json(snapshot: &Snapshot) -> serde_json::Value {
    let modules = of(snapshot).map(|(module, found)| {
        let (name, identity) = (&module.id().name, module.id().identity.to_string());
        match found {
            Ok(functions) => {
                let functions = functions.iter().map(|f| {
                    serde_json::json!({
                        "function": f.name, "file": f.file, "line": f.line, "edges": f.edges, "hits": f.hits,
                    })
                });
                serde_json::json!({"name": name, "identity": identity, "functions": functions.collect::<Vec<_>>()})
            }
            Err(error) => {
                serde_json::json!({"name": name, "identity": identity, "functions": null, "why": error.to_string()})
            }
        }
    });
    modules.collect()
}
