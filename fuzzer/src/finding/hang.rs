//! What stays on the stack of a run that does not end.
//!
//! One look at such a run shows a place by chance: a short function that is called over and over, or
//! Python between two calls. Several looks have their outer part in common, up to the function that does
//! not return. That one names the hang. Python's frames are compared by call, not by function: a function
//! that is called again is another call.

use super::python::PythonFrame;

/// A return address, as far as looks are compared by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Physical<M> {
    /// The library.
    pub module: M,
    /// The address within its file.
    pub offset: u64,
    /// Where its function begins; 0 when it is not known.
    pub start: u64,
}

/// How many of the outermost frames the looks have in common; stacks are innermost first. The last of them may be at
/// different places of one function.
pub fn common<M: PartialEq>(looks: &[Vec<Physical<M>>]) -> usize {
    let Some((first, rest)) = looks.split_first() else { return 0 };
    let mut count = 0;
    for (depth, frame) in first.iter().rev().enumerate() {
        let others = rest.iter().map(|look| look.len().checked_sub(depth + 1).map(|at| &look[at]));
        let Some(others) = others.collect::<Option<Vec<_>>>() else { break };
        let same_function =
            |other: &&Physical<M>| frame.module == other.module && frame.start != 0 && frame.start == other.start;
        if others.iter().all(|other| **other == *frame) {
            count += 1;
        } else if others.iter().all(same_function) {
            return count + 1;
        } else {
            break;
        }
    }
    count
}

/// The innermost call of Python that goes on in all looks, and those that it was called from: innermost first.
pub fn common_python(looks: &[Vec<(PythonFrame, String)>]) -> Vec<PythonFrame> {
    let Some((first, rest)) = looks.split_first() else { return Vec::new() };
    let goes_on = |depth: usize, id: &str| {
        rest.iter().all(|look| look.len().checked_sub(depth + 1).is_some_and(|at| look[at].1 == id))
    };
    let outermost = first.iter().rev().enumerate();
    let mut common: Vec<PythonFrame> =
        outermost.take_while(|(depth, (_, id))| goes_on(*depth, id)).map(|(_, (frame, _))| frame.clone()).collect();
    common.reverse();
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(frames: &[(u64, u64)]) -> Vec<Physical<&'static str>> {
        frames.iter().map(|(start, offset)| Physical { module: "m", offset: *offset, start: *start }).collect()
    }

    #[test]
    fn what_stays_is_the_outer_part_up_to_the_function_that_does_not_return() {
        // Outermost last: main at 1000, parse at 100, helpers at 10 and 20.
        let main = (1000, 1005);
        for (looks, stays) in [
            (vec![look(&[(100, 101), main]), look(&[(100, 105), main])], 2),
            (vec![look(&[(10, 11), (100, 101), main]), look(&[(100, 105), main])], 2),
            (vec![look(&[(10, 11), (100, 101), main]), look(&[(20, 21), (100, 103), main])], 2),
            (vec![look(&[(10, 11), (100, 101), main]), look(&[(10, 12), (100, 101), main])], 3),
            (vec![look(&[(10, 11), main]), look(&[main])], 1),
            (vec![look(&[main])], 1),
            (vec![look(&[(0, 5), main]), look(&[(0, 6), main])], 1),
            (vec![look(&[]), look(&[main])], 0),
            (vec![], 0),
        ] {
            assert_eq!(common(&looks), stays, "{looks:?}");
        }
    }

    #[test]
    fn a_python_function_that_is_called_again_is_another_call() {
        let frame = |function: &str, id: &str| {
            (PythonFrame { file: "h.py".into(), line: 1, function: function.into() }, id.to_string())
        };
        let looks = [
            vec![frame("helper", "9"), frame("spin", "2"), frame("h", "1")],
            vec![frame("helper", "12"), frame("spin", "2"), frame("h", "1")],
        ];
        let names: Vec<String> = common_python(&looks).into_iter().map(|frame| frame.function).collect();
        assert_eq!(names, ["spin", "h"]);
        assert_eq!(common_python(&[]), []);
    }
}
