//! Hits of one build of a library, carried over to another build of it.
//!
//! Two builds number their edges differently. What they share is the source: an edge is carried over
//! by its function, its file's name, its line within the function, and its ordinal among the edges of
//! that line. Lines count from the function's first, so that code above may come and go. Where a
//! function was changed, its lines are compared from the top; from the first on whose edges differ,
//! the rest of the function is dropped: it is better to lose a hit than to claim one that never was.
//! Knows nothing of files and of the command line.

use std::collections::HashMap;

use crate::places::Library;
use crate::snapshot::{Hit, Hits};

/// How edges of one build correspond to those of another.
#[derive(Clone, Debug, Default)]
pub struct Relocation {
    /// By old edge.
    new: Vec<Option<u32>>,
}

/// A function of one source file, by name.
type Function = (String, String);
/// Its edges: line within the function, edge.
type Lines = Vec<(u32, u32)>;

impl Relocation {
    /// Compares two builds; looks at every edge of both.
    pub fn between(old: &Library, new: &Library) -> Relocation {
        let functions = functions(new);
        let mut relocation = Relocation { new: vec![None; old.edges()] };
        for (function, lines) in self::functions(old) {
            if let Some(theirs) = functions.get(&function) {
                relocation.align(&lines, theirs);
            }
        }
        relocation
    }

    /// Line by line from the top, as long as a line has as many edges in both.
    fn align(&mut self, old: &Lines, new: &Lines) {
        let same = |a: &(u32, u32), b: &(u32, u32)| a.0 == b.0;
        for (old, new) in old.chunk_by(same).zip(new.chunk_by(same)) {
            if (old[0].0, old.len()) != (new[0].0, new.len()) {
                return;
            }
            for ((_, from), (_, to)) in old.iter().zip(new) {
                self.new[*from as usize] = Some(*to);
            }
        }
    }

    /// What an old edge is called in the new build.
    pub fn edge(&self, old: u32) -> Option<u32> {
        *self.new.get(old as usize)?
    }

    /// The hits that have a place in the new build, and how many have none.
    pub fn carry(&self, hits: &Hits) -> (Hits, u64) {
        let carried = hits.iter().filter_map(|hit| Some(Hit { edge: self.edge(hit.edge)?, class: hit.class }));
        let carried = Hits::from_unsorted(carried.collect()).expect("the classes are those of hits");
        let dropped = (hits.len() - carried.len()) as u64;
        (carried, dropped)
    }
}

/// The functions of a build that have a name and lines, each with its edges by line.
fn functions(library: &Library) -> HashMap<Function, Lines> {
    let mut functions: HashMap<Function, Lines> = HashMap::new();
    for edge in 0..library.edges() as u32 {
        let Some(place) = library.place(edge) else { break };
        if place.function.is_empty() || place.line == 0 {
            continue;
        }
        // Builds in different folders record different paths.
        let file = place.file.rsplit('/').next().unwrap_or_default().to_owned();
        functions.entry((place.function, file)).or_default().push((place.line, edge));
    }
    for lines in functions.values_mut() {
        let first = lines.iter().map(|(line, _)| *line).min().unwrap_or(0);
        lines.iter_mut().for_each(|(line, _)| *line -= first);
        lines.sort_unstable();
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(old: &[u32], new: &[u32]) -> Vec<Option<u32>> {
        let number = |lines: &[u32]| (0..).zip(lines).map(|(edge, line)| (*line, edge)).collect::<Lines>();
        let mut relocation = Relocation { new: vec![None; old.len()] };
        relocation.align(&number(old), &number(new));
        relocation.new
    }

    #[test]
    fn lines_are_carried_up_to_the_first_that_changed() {
        assert_eq!(aligned(&[0, 1, 1, 4], &[0, 1, 1, 4]), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(aligned(&[0, 1, 1, 4], &[0, 1, 1, 1, 4]), [Some(0), None, None, None]);
        assert_eq!(aligned(&[0, 1, 4], &[0, 1, 2, 5]), [Some(0), Some(1), None]);
        assert_eq!(aligned(&[0, 1], &[0]), [Some(0), None]);
        assert_eq!(aligned(&[0], &[]), [None]);
    }

    #[test]
    fn edges_beyond_the_build_are_dropped() {
        let relocation = Relocation { new: vec![Some(7), None] };
        let hits = Hits::new([0, 1, 9].map(|edge| Hit { edge, class: 2 }).to_vec()).unwrap();
        assert_eq!(relocation.carry(&hits), (Hits::new(vec![Hit { edge: 7, class: 2 }]).unwrap(), 2));
    }
}
