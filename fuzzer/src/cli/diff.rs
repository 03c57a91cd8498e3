//! `hitmap diff`: which edges two or three snapshots share, and which only some of them have.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hitmap_observers::places::{Library, Place};
use hitmap_observers::snapshot::{Conflict, ModuleId, Snapshot, venn_by, venn_of};

use super::maps;
use super::relocate::{self, Relocate};
use crate::error::{Failure, exit};
use crate::launcher::screen::grouped;
use crate::print;

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap diff before.hitmap after.hitmap
  hitmap diff out/monday out/tuesday --by function
  hitmap diff a.hitmap b.hitmap c.hitmap --json
  hitmap diff old.hitmap new.hitmap --relocate new/libfoo.so --old old/libfoo.so

A campaign folder stands for its coverage.hitmap. Libraries are compared build by build. The exit code
is 0 whether they differ or not.")]
pub struct Typed {
    /// Two or three snapshots, or campaign folders
    #[arg(required = true, num_args = 2..=3, value_name = "SNAPSHOT")]
    inputs: Vec<PathBuf>,
    /// What has a line of its own; functions and edges only where the snapshots differ
    #[arg(long, value_enum, default_value = "module")]
    by: By,
    #[command(flatten)]
    relocate: relocate::Typed,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What edges are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Module,
    Function,
    Edge,
}

/// How many edges lie in which snapshots, as [`hitmap_observers::snapshot::venn`] has it.
type Zones = [u64; 8];

/// The zones of two snapshots and of three: which of a [`Zones`], its name in JSON and its title.
const TWO: &[(usize, &str, &str)] = &[(1, "only_a", "only A"), (2, "only_b", "only B"), (3, "both", "both")];
const THREE: &[(usize, &str, &str)] = &[
    (1, "only_a", "only A"),
    (2, "only_b", "only B"),
    (4, "only_c", "only C"),
    (3, "a_and_b", "A and B"),
    (5, "a_and_c", "A and C"),
    (6, "b_and_c", "B and C"),
    (7, "all", "all"),
];

/// A module, a function of one, or an edge of one, by number in the list of modules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Thing {
    module: usize,
    function: String,
    file: String,
    line: u32,
    edge: Option<u32>,
}

/// What the snapshots share.
struct Compared {
    zones: &'static [(usize, &'static str, &'static str)],
    modules: Vec<ModuleId>,
    by_module: BTreeMap<Thing, Zones>,
    /// As asked for; functions and edges have their places from the libraries' files.
    rows: BTreeMap<Thing, Zones>,
    /// Why edges of a module have no place.
    unplaced: Vec<String>,
    /// By pair of snapshots.
    conflicts: Vec<(usize, usize, Conflict)>,
}

/// Compares and prints.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed) -> Result<i32, Failure> {
    let mut relocate = Relocate::new(&typed.relocate)?;
    let snapshots = typed.inputs.iter().map(|input| relocate.apply(maps::load(input)?));
    let snapshots = snapshots.collect::<Result<Vec<_>, _>>()?;
    let compared = compare(&snapshots, typed.by);
    if typed.json {
        let mut object = json(&compared, typed);
        object["relocated"] = serde_json::json!(relocate.moved());
        print::line(object)?;
    } else {
        print::line(text(&compared, typed.by).trim_end())?;
        relocate.told().iter().chain(&compared.unplaced).for_each(|note| print::remark(format_args!("note: {note}")));
        for (a, b, conflict) in &compared.conflicts {
            let told = maps::tell(conflict, &typed.inputs[*a], &typed.inputs[*b]);
            print::remark(format_args!("note: {told}; their edges do not correspond"));
        }
    }
    Ok(exit::CLEAN)
}

fn compare(snapshots: &[Snapshot], by: By) -> Compared {
    let all = snapshots.iter().fold(Snapshot::default(), |all, one| all.union(one));
    let modules: Vec<ModuleId> = all.modules().iter().map(|module| module.id().clone()).collect();
    let number = |id: &ModuleId| modules.iter().position(|module| module.key() == id.key());
    let thing = |module| Thing { module, function: String::new(), file: String::new(), line: 0, edge: None };
    let snapshots: Vec<&Snapshot> = snapshots.iter().collect();
    let mut by_module = venn_by(&snapshots, |id, _| number(id).map(thing));
    // A library without hits has a line, too.
    for module in 0..modules.len() {
        by_module.entry(thing(module)).or_default();
    }

    let mut unplaced = Vec::new();
    let rows = if by == By::Module {
        by_module.clone()
    } else {
        let mut libraries: BTreeMap<usize, Option<Library>> = BTreeMap::new();
        let mut rows = venn_by(&snapshots, |id, edge| {
            let module = number(id)?;
            let library = libraries.entry(module).or_insert_with(|| {
                let opened = Library::of(id);
                opened.map_err(|error| unplaced.push(maps::printable(&error.to_string()))).ok()
            });
            let place = library.as_ref().and_then(|library| library.place(edge)).unwrap_or_default();
            Some(placed(module, place, edge, by))
        });
        // What all have in full is no difference.
        let shared = (1 << snapshots.len()) - 1;
        rows.retain(|_, zones| (1..shared).any(|zone| zones[zone] != 0));
        rows
    };
    let pairs = (0..snapshots.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    let conflicts = pairs.flat_map(|(a, b)| {
        snapshots[a].conflicts(snapshots[b]).into_iter().map(move |conflict| (a, b, conflict)).collect::<Vec<_>>()
    });
    let conflicts = conflicts.collect();
    let zones = if snapshots.len() == 2 { TWO } else { THREE };
    Compared { zones, modules, by_module, rows, unplaced, conflicts }
}

fn placed(module: usize, place: Place, edge: u32, by: By) -> Thing {
    let (line, edge) = if by == By::Edge { (place.line, Some(edge)) } else { (0, None) };
    Thing { module, function: place.function, file: place.file, line, edge }
}

fn sum(things: &BTreeMap<Thing, Zones>) -> Zones {
    let mut sum = [0; 8];
    things.values().for_each(|zones| (0..8).for_each(|zone| sum[zone] += zones[zone]));
    sum
}

fn text(compared: &Compared, by: By) -> String {
    let numbers = |zones: &Zones| compared.zones.iter().map(|(zone, ..)| grouped(zones[*zone])).collect::<Vec<_>>();
    let mut rows = vec![compared.zones.iter().map(|(_, _, title)| (*title).to_owned()).collect::<Vec<_>>()];
    let titles: &[&str] = match by {
        By::Module => &["edges", "module", "identity"],
        By::Function => &["function", "source", "module"],
        By::Edge => &["edge", "function", "source", "module"],
    };
    rows[0].extend(titles.iter().map(|title| (*title).to_owned()));
    for (thing, zones) in &compared.rows {
        let id = &compared.modules[thing.module];
        let source = match (thing.file.as_str(), thing.line) {
            ("", _) => "-".to_owned(),
            (file, 0) => maps::printable(file),
            (file, line) => format!("{}:{line}", maps::printable(file)),
        };
        let function =
            if thing.function.is_empty() { "(no name)".to_owned() } else { maps::printable(&thing.function) };
        let mut row = numbers(zones);
        row.extend(match by {
            By::Module => vec![grouped(id.edges.into()), maps::name(id), id.identity.to_string()],
            By::Function => vec![function, source, maps::name(id)],
            By::Edge => vec![thing.edge.unwrap_or(0).to_string(), function, source, maps::name(id)],
        });
        rows.push(row);
    }
    let mut total = numbers(&sum(&compared.by_module));
    let edges = compared.modules.iter().map(|id| u64::from(id.edges)).sum();
    total.extend(match by {
        By::Module => vec![grouped(edges), "total".to_owned(), String::new()],
        By::Function => vec!["total".to_owned(), String::new(), String::new()],
        By::Edge => vec![String::new(), "total".to_owned(), String::new(), String::new()],
    });
    rows.push(total);
    let right = compared.zones.len() + usize::from(by != By::Function);
    maps::table(&rows, right)
}

fn json(compared: &Compared, typed: &Typed) -> serde_json::Value {
    let named = |zones: &Zones| -> serde_json::Map<String, serde_json::Value> {
        compared.zones.iter().map(|(zone, name, _)| ((*name).to_owned(), zones[*zone].into())).collect()
    };
    let rows = |things: &BTreeMap<Thing, Zones>| {
        let one = |(thing, zones): (&Thing, &Zones)| {
            let id = &compared.modules[thing.module];
            let mut object = serde_json::json!({"name": id.name, "identity": id.identity.to_string()});
            match thing.edge {
                _ if typed.by == By::Module => {
                    object["path"] = id.path.clone().into();
                    object["edges"] = id.edges.into();
                }
                edge => {
                    object["function"] = thing.function.clone().into();
                    object["file"] = thing.file.clone().into();
                    if let Some(edge) = edge {
                        object["edge"] = edge.into();
                        object["line"] = thing.line.into();
                    }
                }
            }
            named(zones).into_iter().for_each(|(name, count)| object[name] = count);
            object
        };
        things.iter().map(one).collect::<Vec<_>>()
    };
    let conflicts = compared.conflicts.iter().map(|(a, b, conflict)| {
        let [left, right] = [a, b].map(|at| ["a", "b", "c"][*at]);
        serde_json::json!({"name": conflict.name, left: conflict.left.to_string(), right: conflict.right.to_string()})
    });
    let key = match typed.by {
        By::Module => "modules",
        By::Function => "functions",
        By::Edge => "edges",
    };
    let total = sum(&compared.by_module);
    let subset = |inside: usize, of: usize| {
        (1..8).all(|zone| zone >> inside & 1 == 0 || zone >> of & 1 == 1 || total[zone] == 0)
    };
    let mut object = serde_json::json!({
        "total": named(&total), "libraries": named(&venn_of(&compared.by_module)),
        "a_is_subset_of_b": subset(0, 1), "b_is_subset_of_a": subset(1, 0),
        key: rows(&compared.rows), "unplaced": compared.unplaced, "conflicts": conflicts.collect::<Vec<_>>(),
    });
    for (name, input) in ["a", "b", "c"].iter().zip(&typed.inputs) {
        object[*name] = serde_json::json!(input.to_string_lossy());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::maps::tests::snapshot;
    use hitmap_observers::snapshot::venn;

    fn two() -> [Snapshot; 2] {
        let left = snapshot(&[("a.so", 1, 10, &[1, 2, 3]), ("left.so", 3, 5, &[4])]);
        let right = snapshot(&[("a.so", 1, 10, &[3, 4]), ("right.so", 2, 6, &[0, 5])]);
        [left, right]
    }

    #[test]
    fn edges_are_told_apart_module_by_module() {
        let compared = compare(&two(), By::Module);
        let rows =
            compared.rows.iter().map(|(thing, z)| (compared.modules[thing.module].name.as_str(), z[1], z[2], z[3]));
        assert_eq!(rows.collect::<Vec<_>>(), [("a.so", 2, 1, 1), ("right.so", 0, 2, 0), ("left.so", 1, 0, 0)]);
        assert_eq!(sum(&compared.rows), venn(&[&two()[0], &two()[1]]));
    }

    #[test]
    fn what_is_printed_ends_with_the_total() {
        let printed = text(&compare(&two(), By::Module), By::Module);
        assert_eq!(printed.lines().count(), 5);
        assert_eq!(printed.lines().last(), Some("     3       3     1     21  total"));
    }

    #[test]
    fn three_are_told_apart_in_seven_ways() {
        let three = [&[1, 2, 3, 4][..], &[2, 3, 5], &[3, 4, 5, 6]].map(|hits| snapshot(&[("a.so", 1, 10, hits)]));
        let compared = compare(&three, By::Module);
        assert_eq!(sum(&compared.rows), [0, 1, 0, 1, 1, 1, 1, 1]);
        assert!(
            text(&compared, By::Module).starts_with("only A  only B  only C  A and B  A and C  B and C  all  edges")
        );
    }

    #[test]
    fn a_library_without_a_file_has_edges_without_a_place() {
        let compared = compare(&two(), By::Edge);
        assert_eq!(compared.unplaced.len(), 3);
        assert!(compared.unplaced.iter().any(|note| note.contains("/lib/a.so")), "{:?}", compared.unplaced);
        assert_eq!(compared.rows.len(), 6, "the edge of both is no difference");
        assert!(text(&compared, By::Edge).contains("(no name)  -       a.so"));
        assert_eq!(compare(&two(), By::Function).rows.len(), 3);
    }

    #[test]
    fn builds_that_do_not_correspond_are_named() {
        let compared = compare(&[1, 2].map(|build| snapshot(&[("a.so", build, 10, &[1])])), By::Module);
        assert_eq!(sum(&compared.rows), [0, 1, 1, 0, 0, 0, 0, 0]);
        let [(0, 1, conflict)] = &compared.conflicts[..] else { panic!("{:?}", compared.conflicts) };
        let told = maps::tell(conflict, "x".as_ref(), "y".as_ref());
        assert!(told.contains(&format!("build {} in x, build {} in y", "01".repeat(20), "02".repeat(20))));
    }
}
