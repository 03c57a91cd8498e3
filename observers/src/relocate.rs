//! Hits of one build of a library, carried over to another build of it.
//!
//! Two builds number their edges differently. What they share is the source: an edge is carried over
//! by the function that the compiler made of it, the calls through which it was inlined there, its line
//! within each of these functions, and its ordinal among the edges of that line. Lines count from the
//! function's first, so that code above may come and go. Where a function was changed, its lines are
//! compared from the top; from the first on whose edges differ, the rest of the function is dropped.
//!
//! Functions correspond by their symbol and their file. Many files may have one name, and many functions
//! one name in them (`init` in `a/util.c` and in `b/util.c`): they are told apart by the ends of the files'
//! paths, as far as those are the same in both builds. Where several are left, nothing is carried over: it is
//! better to lose a hit than to claim one that never was. Knows nothing of the command line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::places::{Found, Library};
use crate::snapshot::{Hit, Hits};

/// How edges of one build correspond to those of another.
#[derive(Clone, Debug, Default)]
pub struct Relocation {
    /// By old edge.
    new: Vec<Option<u32>>,
    /// Old edges of functions that correspond to several, or to none for sure; each with its function.
    unclear: HashMap<u32, Arc<str>>,
}

/// What became of hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Those that have a place in the new build.
    pub hits: Hits,
    /// How many have none.
    pub dropped: u64,
    /// How many of those are in functions that are not told apart.
    pub unclear: u64,
    /// The first of these functions, with its file.
    pub such_as: Option<String>,
}

impl Relocation {
    /// Compares two builds; looks at every edge of both.
    pub fn between(old: &Library, new: &Library) -> Relocation {
        let mut names = Shared::default();
        let (old_build, new_build) = (Build::read(old, &mut names), Build::read(new, &mut names));
        let mut relocation = Relocation { new: vec![None; old.edges()], ..Relocation::default() };
        let same = correspond(&old_build, &new_build);
        for (function, theirs) in old_build.functions.iter().zip(same) {
            match theirs {
                Same::Function(at) => {
                    let (ours, theirs) = (function.edges.iter(), new_build.functions[at].edges.iter());
                    relocation.align(ours.collect(), theirs.collect(), 0);
                }
                Same::Unclear => {
                    let told: Arc<str> = format!("{} ({})", function.shown, function.file).into();
                    relocation.unclear.extend(function.edges.iter().map(|edge| (edge.number, told.clone())));
                }
                Same::None => {}
            }
        }
        relocation
    }

    /// Line by line from the top, as long as a line has as many edges in both, and the same calls were inlined
    /// there. Then what was inlined, in the same way.
    fn align(&mut self, mut old: Vec<&Edge>, mut new: Vec<&Edge>, depth: usize) {
        old.sort_by_key(|edge| (edge.steps[depth].line, edge.number));
        new.sort_by_key(|edge| (edge.steps[depth].line, edge.number));
        let same = |a: &&Edge, b: &&Edge| a.steps[depth].line == b.steps[depth].line;
        for (old, new) in old.chunk_by(same).zip(new.chunk_by(same)) {
            let (from, old_inner) = of_line(old, depth);
            let (to, new_inner) = of_line(new, depth);
            let same_line = old[0].steps[depth].line == new[0].steps[depth].line;
            if !same_line || from.len() != to.len() || !old_inner.keys().eq(new_inner.keys()) {
                return;
            }
            for (from, to) in from.into_iter().zip(to) {
                self.new[from as usize] = Some(to);
            }
            for (old, new) in old_inner.into_values().zip(new_inner.into_values()) {
                self.align(old, new, depth + 1);
            }
        }
    }

    /// What an old edge is called in the new build.
    pub fn edge(&self, old: u32) -> Option<u32> {
        *self.new.get(old as usize)?
    }

    /// The hits that have a place in the new build, and what is told of the others.
    pub fn carry(&self, hits: &Hits) -> Carried {
        let carried = hits.iter().filter_map(|hit| Some(Hit { edge: self.edge(hit.edge)?, class: hit.class }));
        let carried = Hits::from_unsorted(carried.collect()).expect("the classes are those of hits");
        let dropped = (hits.len() - carried.len()) as u64;
        let mut unclear = hits.iter().filter_map(|hit| self.unclear.get(&hit.edge)).peekable();
        let such_as = unclear.peek().map(|function| function.to_string());
        Carried { hits: carried, dropped, unclear: unclear.count() as u64, such_as }
    }
}

/// The edges of one line of a function: those of its own, and those that were inlined there, by function.
fn of_line<'a>(edges: &[&'a Edge], depth: usize) -> (Vec<u32>, BTreeMap<u32, Vec<&'a Edge>>) {
    let (mut own, mut inner) = (Vec::new(), BTreeMap::<u32, Vec<&Edge>>::new());
    for edge in edges {
        match edge.steps.get(depth + 1) {
            None => own.push(edge.number),
            Some(step) => inner.entry(step.function).or_default().push(edge),
        }
    }
    (own, inner)
}

/// Numbers for functions of the source, each by its name and its file's last name: builds in different folders
/// record different paths.
#[derive(Default)]
struct Shared(HashMap<(String, String), u32>);

/// A line of a function, counted from its first.
#[derive(Clone, Copy, Debug)]
struct Step {
    function: u32,
    line: u32,
}

/// An edge, and how it came to where it is: a line of the function that the compiler made, then of what was
/// inlined there, and so on.
#[derive(Clone, Debug)]
struct Edge {
    number: u32,
    steps: Vec<Step>,
}

/// A function that the compiler made.
#[derive(Clone, Debug)]
struct Function {
    symbol: String,
    shown: String,
    file: String,
    edges: Vec<Edge>,
}

/// The functions of a build that have a name and lines.
#[derive(Default)]
struct Build {
    functions: Vec<Function>,
    /// Paths of all source files.
    files: HashSet<String>,
}

impl Build {
    fn read(library: &Library, names: &mut Shared) -> Build {
        let mut build = Build::default();
        // Functions of the source with their paths: number, and (what it is called in `names`, first line).
        let mut sources: HashMap<(String, String), u32> = HashMap::new();
        let mut about: Vec<(u32, u32)> = Vec::new();
        let mut places: HashMap<(Option<u64>, String), usize> = HashMap::new();
        for number in 0..library.edges() as u32 {
            let Some(Found { mut named, start, symbol, .. }) = library.find(number) else { break };
            if library.is_entry(number) {
                // A function's entry belongs to it, whatever was inlined there.
                named.drain(..named.len().saturating_sub(1));
            }
            if named.first().is_none_or(|innermost| innermost.line == 0) {
                continue;
            }
            let Some(outermost) = named.last().cloned() else { continue };
            let steps = named.into_iter().rev().map(|frame| {
                let line = frame.line;
                let short = frame.file.rsplit('/').next().unwrap_or_default().to_owned();
                if !build.files.contains(&frame.file) {
                    build.files.insert(frame.file.clone());
                }
                let next = names.0.len() as u32;
                let shared = *names.0.entry((frame.function.clone(), short)).or_insert(next);
                let function = *sources.entry((frame.function, frame.file)).or_insert(about.len() as u32);
                if function as usize == about.len() {
                    about.push((shared, u32::MAX));
                }
                let first = &mut about[function as usize].1;
                *first = (*first).min(if line == 0 { u32::MAX } else { line });
                Step { function, line }
            });
            let steps = steps.collect();
            let symbol = symbol.map_or_else(|| outermost.function.clone(), |symbol| stable(&symbol).to_owned());
            let at = *places.entry((start, symbol.clone())).or_insert(build.functions.len());
            if at == build.functions.len() {
                let (shown, file) = (outermost.function, outermost.file);
                build.functions.push(Function { symbol, shown, file, edges: Vec::new() });
            }
            build.functions[at].edges.push(Edge { number, steps });
        }
        for step in build.functions.iter_mut().flat_map(|f| &mut f.edges).flat_map(|edge| &mut edge.steps) {
            let (shared, first) = about[step.function as usize];
            *step = Step { function: shared, line: step.line.saturating_sub(first) };
        }
        build
    }
}

/// A symbol without what link-time optimization appends, which is another in each build.
fn stable(symbol: &str) -> &str {
    symbol.split_once(".llvm.").map_or(symbol, |(name, _)| name)
}

/// What a function of the old build is in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    Function(usize),
    Unclear,
    None,
}

/// For each function of the old build.
fn correspond(old: &Build, new: &Build) -> Vec<Same> {
    let mut by_symbol: HashMap<&str, (Vec<usize>, Vec<usize>)> = HashMap::new();
    for (at, function) in old.functions.iter().enumerate() {
        by_symbol.entry(&function.symbol).or_default().0.push(at);
    }
    for (at, function) in new.functions.iter().enumerate() {
        by_symbol.entry(&function.symbol).or_default().1.push(at);
    }
    let mut same = vec![Same::None; old.functions.len()];
    for (ours, theirs) in by_symbol.into_values() {
        let shared = |a: usize, b: usize| shared_end(&old.functions[a].file, &new.functions[b].file);
        for a in &ours {
            let there = only_best(&theirs, |b| shared(*a, b));
            same[*a] = match there {
                Best::None => Same::None,
                Best::Several => Same::Unclear,
                Best::One(b) if only_best(&ours, |a| shared(a, b)) != Best::One(*a) => Same::Unclear,
                Best::One(b) if was_replaced(old, new, &old.functions[*a].file, &new.functions[b].file) => {
                    Same::Unclear
                }
                Best::One(b) => Same::Function(b),
            };
        }
    }
    same
}

#[derive(PartialEq, Eq)]
enum Best {
    One(usize),
    Several,
    None,
}

/// The one with the highest score.
fn only_best(of: &[usize], score: impl Fn(usize) -> usize) -> Best {
    let most = of.iter().map(|at| score(*at)).max().unwrap_or(0);
    let mut best = of.iter().filter(|at| most > 0 && score(**at) == most);
    match (best.next(), best.next()) {
        (Some(only), None) => Best::One(*only),
        (Some(_), Some(_)) => Best::Several,
        (None, _) => Best::None,
    }
}

/// How many names at the ends of two paths are the same, the file's own first.
fn shared_end(one: &str, other: &str) -> usize {
    one.rsplit('/').zip(other.rsplit('/')).take_while(|(a, b)| a == b).count()
}

/// Whether a file of one name in a folder of another is more likely another file than the same one in a source
/// tree that moved: source files beside its folder, or above it, are where they were.
fn was_replaced(old: &Build, new: &Build, one: &str, other: &str) -> bool {
    if one == other || shared_end(one, other) > 1 {
        return false;
    }
    let Some(beside) = Path::new(one).parent().and_then(Path::parent).filter(|at| *at != Path::new("/")) else {
        return false;
    };
    let is_source = |file: &str| {
        let kind = Path::new(file).extension().unwrap_or_default().to_string_lossy().to_lowercase();
        // Headers of other libraries may lie anywhere.
        !kind.is_empty() && !kind.starts_with('h') && !["inc", "inl", "ipp", "tcc", "def"].contains(&&*kind)
    };
    old.files.iter().any(|file| is_source(file) && Path::new(file).starts_with(beside) && new.files.contains(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(old: &[&[u32]], new: &[&[u32]]) -> Vec<Option<u32>> {
        let edges = |of: &[&[u32]]| -> Vec<Edge> {
            // What is inlined at a line is a function of its own.
            let steps = |lines: &[u32]| lines.iter().map(|line| Step { function: 0, line: *line }).collect();
            (0..).zip(of).map(|(number, lines)| Edge { number, steps: steps(lines) }).collect()
        };
        let (old, new) = (edges(old), edges(new));
        let mut relocation = Relocation { new: vec![None; old.len()], ..Relocation::default() };
        relocation.align(old.iter().collect(), new.iter().collect(), 0);
        relocation.new
    }

    #[test]
    fn lines_are_carried_up_to_the_first_that_changed() {
        let of = |old: &[u32], new: &[u32]| {
            let each = |lines: &[u32]| lines.iter().map(|line| vec![*line]).collect::<Vec<_>>();
            let (old, new) = (each(old), each(new));
            let (old, new): (Vec<_>, Vec<_>) =
                (old.iter().map(Vec::as_slice).collect(), new.iter().map(Vec::as_slice).collect());
            aligned(&old, &new)
        };
        assert_eq!(of(&[0, 1, 1, 4], &[0, 1, 1, 4]), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(of(&[0, 1, 1, 4], &[0, 1, 1, 1, 4]), [Some(0), None, None, None]);
        assert_eq!(of(&[0, 1, 4], &[0, 1, 2, 5]), [Some(0), Some(1), None]);
        assert_eq!(of(&[0, 1], &[0]), [Some(0), None]);
        assert_eq!(of(&[0], &[]), [None]);
    }

    #[test]
    fn what_was_inlined_is_compared_at_its_call() {
        let calls: [&[u32]; 4] = [&[0], &[3, 0], &[5, 0], &[6]];
        assert_eq!(aligned(&calls, &calls), [Some(0), Some(1), Some(2), Some(3)]);
        // Two lines more above: the first call is where the second was.
        assert_eq!(aligned(&calls, &[&[0], &[5, 0], &[7, 0], &[8]]), [Some(0), None, None, None]);
        // The inlined function was changed, its caller was not.
        assert_eq!(aligned(&calls, &[&[0], &[3, 0], &[3, 1], &[5, 0], &[5, 1], &[6]])[..2], [Some(0), Some(1)]);
        assert_eq!(aligned(&calls, &[&[0], &[3, 1], &[5, 0], &[6]]), [Some(0), None, Some(2), Some(3)]);
        // No longer inlined.
        assert_eq!(aligned(&calls, &[&[0], &[3], &[5, 0], &[6]]), [Some(0), None, None, None]);
    }

    #[test]
    fn functions_correspond_by_symbol_and_file() {
        let build = |functions: &[(&str, &str)]| {
            let files = functions.iter().map(|(_, file)| (*file).to_owned()).collect();
            let function = |(symbol, file): &(&str, &str)| Function {
                symbol: (*symbol).to_owned(),
                shown: (*symbol).to_owned(),
                file: (*file).to_owned(),
                edges: Vec::new(),
            };
            Build { functions: functions.iter().map(function).collect(), files }
        };
        let check = |old: &[(&str, &str)], new: &[(&str, &str)], expect: &[Same]| {
            assert_eq!(correspond(&build(old), &build(new)), expect, "{old:?} {new:?}");
        };
        let one = [("init", "/s/a/util.c"), ("init", "/s/b/util.c"), ("main", "/s/main.c")];
        let turned = [one[1], one[0], one[2]];
        let f = Same::Function;
        check(&one, &turned, &[f(1), f(0), f(2)]);
        // The whole tree moved.
        let moved = [("init", "/t/x/b/util.c"), ("init", "/t/x/a/util.c"), ("main", "/t/x/main.c")];
        check(&one, &moved, &[f(1), f(0), f(2)]);
        check(
            &[("init", "/t/old/u.c"), ("main", "/t/old/m.c")],
            &[("init", "/t/new/u.c"), ("main", "/t/new/m.c")],
            &[f(0), f(1)],
        );
        // One of two is gone, or has another name: the other is not taken for it.
        check(&one, &turned[..1], &[Same::Unclear, f(0), Same::None]);
        check(&one[..1], &one[1..2], &[f(0)]);
        check(&[one[0], one[2]], &[one[1], one[2]], &[Same::Unclear, f(1)]);
        check(&one, &[("init", "/s/c/util.c"), one[1], one[2]], &[Same::Unclear, f(1), f(2)]);
        // Copies of a header's function, one in each file that includes it.
        let header = [("inc", "/s/util.h"), ("inc", "/s/util.h")];
        check(&header, &header, &[Same::Unclear, Same::Unclear]);
        check(&header[..1], &header, &[Same::Unclear]);
        check(&header, &header[..1], &[Same::Unclear, Same::Unclear]);
        check(&[("f", "/s/a.c")], &[("f", "/s/b.c")], &[Same::None]);
        assert_eq!(stable("init.llvm.123"), "init");
    }

    #[test]
    fn edges_beyond_the_build_are_dropped() {
        let unclear = [(1, Arc::from("init (/s/a/util.c)"))].into();
        let relocation = Relocation { new: vec![Some(7), None], unclear };
        let hits = Hits::new([0, 1, 9].map(|edge| Hit { edge, class: 2 }).to_vec()).unwrap();
        let hits_carried = Hits::new(vec![Hit { edge: 7, class: 2 }]).unwrap();
        let such_as = Some("init (/s/a/util.c)".to_owned());
        assert_eq!(relocation.carry(&hits), Carried { hits: hits_carried, dropped: 2, unclear: 1, such_as });
    }
}
