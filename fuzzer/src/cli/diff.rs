//! `hitmap diff`: which edges two snapshots share, and which only one of them has.

use std::path::{Path, PathBuf};

use hitmap_observers::snapshot::{ModuleId, ModuleMap, Snapshot};

use super::maps;
use crate::error::{Failure, exit};
use crate::launcher::screen::grouped;

/// What the user typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hitmap diff before.hitmap after.hitmap
  hitmap diff out/monday out/tuesday --json

A campaign folder stands for its coverage.hitmap. Libraries are compared build by build. The exit code
is 0 whether they differ or not.")]
pub struct Typed {
    /// A snapshot, or a campaign folder
    #[arg(value_name = "A")]
    left: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    right: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How many edges lie where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Shares {
    only_a: u64,
    only_b: u64,
    both: u64,
}

/// Compares and prints.
///
/// # Errors
/// With a message for the user.
pub fn run(typed: &Typed) -> Result<i32, Failure> {
    let (left, right) = (maps::load(&typed.left)?, maps::load(&typed.right)?);
    let (modules, total) = compare(&left, &right);
    if typed.json {
        println!("{}", json(typed, &left, &right, &modules, total));
    } else {
        print!("{}", text(&modules, total));
        for note in notes(&left, &right, &typed.left, &typed.right) {
            eprintln!("{note}");
        }
    }
    Ok(exit::CLEAN)
}

/// The modules of either, and all of them together.
fn compare(left: &Snapshot, right: &Snapshot) -> (Vec<(ModuleId, Shares)>, Shares) {
    let mut total = Shares::default();
    let one = |module: &ModuleMap| {
        let key = module.id().key();
        let (ours, theirs) = (left.module(key), right.module(key));
        let len = |module: Option<&ModuleMap>| module.map_or(0, |module| module.hits().len() as u64);
        let both = ours.zip(theirs).map_or(0, |(ours, theirs)| ours.hits().intersection(theirs.hits()).len() as u64);
        let shares = Shares { only_a: len(ours) - both, only_b: len(theirs) - both, both };
        total.only_a += shares.only_a;
        total.only_b += shares.only_b;
        total.both += shares.both;
        (module.id().clone(), shares)
    };
    let modules = left.union(right).modules().iter().map(one).collect();
    (modules, total)
}

fn text(modules: &[(ModuleId, Shares)], total: Shares) -> String {
    let row = |shares: &Shares, edges: u64, identity: String, name: String| {
        let numbers = [shares.only_a, shares.only_b, shares.both, edges].map(grouped);
        let [only_a, only_b, both, edges] = numbers;
        [only_a, only_b, both, edges, name, identity]
    };
    let mut rows = vec![["only A", "only B", "both", "edges", "module", "identity"].map(str::to_owned)];
    rows.extend(
        modules.iter().map(|(id, shares)| row(shares, id.edges.into(), id.identity.to_string(), maps::name(id))),
    );
    let edges = modules.iter().map(|(id, _)| u64::from(id.edges)).sum();
    rows.push(row(&total, edges, String::new(), "total".to_owned()));
    maps::table(&rows, 4)
}

fn notes(left: &Snapshot, right: &Snapshot, a: &Path, b: &Path) -> Vec<String> {
    let conflicts = left.conflicts(right);
    let note = |conflict| format!("note: {}; their edges do not correspond", maps::tell(conflict, a, b));
    conflicts.iter().map(note).collect()
}

fn json(
    typed: &Typed,
    left: &Snapshot,
    right: &Snapshot,
    modules: &[(ModuleId, Shares)],
    total: Shares,
) -> serde_json::Value {
    let modules = modules.iter().map(|(id, shares)| {
        serde_json::json!({
            "name": id.name, "path": id.path, "identity": id.identity.to_string(), "edges": id.edges,
            "only_a": shares.only_a, "only_b": shares.only_b, "both": shares.both,
        })
    });
    let conflicts = left.conflicts(right).into_iter().map(|conflict| {
        serde_json::json!({
            "name": conflict.name, "a": conflict.left.to_string(), "b": conflict.right.to_string(),
        })
    });
    serde_json::json!({
        "a": typed.left, "b": typed.right, "total": total,
        "modules": modules.collect::<Vec<_>>(), "conflicts": conflicts.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::maps::tests::snapshot;

    fn two() -> (Snapshot, Snapshot) {
        let left = snapshot(&[("a.so", 1, 10, &[1, 2, 3]), ("left.so", 3, 5, &[4])]);
        let right = snapshot(&[("a.so", 1, 10, &[3, 4]), ("right.so", 2, 6, &[0, 5])]);
        (left, right)
    }

    #[test]
    fn edges_are_told_apart_module_by_module() {
        let (left, right) = two();
        let (modules, total) = compare(&left, &right);
        let shares: Vec<_> = modules.iter().map(|(id, s)| (id.name.as_str(), s.only_a, s.only_b, s.both)).collect();
        assert_eq!(shares, [("a.so", 2, 1, 1), ("right.so", 0, 2, 0), ("left.so", 1, 0, 0)]);
        assert_eq!(total, Shares { only_a: 3, only_b: 3, both: 1 });
        let venn = hitmap_observers::snapshot::venn(&[&left, &right]);
        assert_eq!(total, Shares { only_a: venn[1], only_b: venn[2], both: venn[3] });
    }

    #[test]
    fn what_is_printed_ends_with_the_total() {
        let (left, right) = two();
        let (modules, total) = compare(&left, &right);
        let printed = text(&modules, total);
        assert_eq!(printed.lines().count(), 5);
        assert_eq!(printed.lines().last(), Some("     3       3     1     21  total"));
    }

    #[test]
    fn builds_that_do_not_correspond_are_named() {
        let (left, right) = (snapshot(&[("a.so", 1, 10, &[1])]), snapshot(&[("a.so", 2, 10, &[1])]));
        assert_eq!(compare(&left, &right).1, Shares { only_a: 1, only_b: 1, both: 0 });
        let notes = notes(&left, &right, Path::new("x"), Path::new("y"));
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains(&format!("build {} in x, build {} in y", "01".repeat(20), "02".repeat(20))));
    }
}
