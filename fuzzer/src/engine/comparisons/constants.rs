//! What the target compared its input with, as tokens for inputs that do not come as far yet.

use std::collections::HashSet;

use hitmap_wire::comparisons::{self, Comparison};

use super::encode::{Form, integer, write};
use super::replace::Run;

/// The shortest token that is worth a place; shorter ones are what havoc finds by chance.
const SHORTEST: usize = 2;
/// Integers from here on are no counts, lengths or characters.
const LARGE: u64 = 1 << 16;

/// Constants of one input's comparisons, each once, in the order in which they were met.
pub fn constants(plain: Run<'_>, coloured: Run<'_>) -> Vec<Vec<u8>> {
    let after: HashSet<(u64, &[u8])> =
        coloured.log.iter().flat_map(|c| [(c.site, c.left()), (c.site, c.right())]).collect();
    let mut found = Vec::new();
    for comparison in plain.log {
        match comparison.kind {
            comparisons::INTEGER | comparisons::SWITCH => numbers(comparison, &mut found),
            comparisons::MEMORY | comparisons::STRING => {
                let sides = [(comparison.left(), comparison.right()), (comparison.right(), comparison.left())];
                for (side, other) in sides {
                    // What stands in the input is none, nor what changed with it.
                    let stayed = after.contains(&(comparison.site, side));
                    if side != other && side.len() >= SHORTEST && stayed && !contains(plain.input, side) {
                        found.push(side.to_vec());
                    }
                }
            }
            _ => {}
        }
    }
    let mut known = HashSet::new();
    found.retain(|token| known.insert(token.clone()));
    found
}

fn numbers(comparison: &Comparison, found: &mut Vec<Vec<u8>>) {
    let sides = [(comparisons::LEFT_CONSTANT, comparison.left()), (comparisons::RIGHT_CONSTANT, comparison.right())];
    for (bit, side) in sides {
        let (value, width) = (integer(side), side.len());
        if comparison.constant & bit == 0 || !matches!(width, 4 | 8) {
            continue;
        }
        let is_small_and_negative = value >> (8 * width - 16) == 0xFFFF;
        if value >= LARGE && !is_small_and_negative {
            found.extend(
                [Form::Little(width), Form::Big(width)].into_iter().filter_map(|form| write(value, width, form)),
            );
        }
    }
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::mock::compared;
    use hitmap_wire::comparisons::{INTEGER, MEMORY, RIGHT_CONSTANT, STRING};

    fn check(before: &[Comparison], after: &[Comparison], expect: &[&[u8]]) {
        let (plain, coloured) = (Run { input: b"abcd", log: before }, Run { input: b"wxyz", log: after });
        assert_eq!(constants(plain, coloured), expect);
    }

    #[test]
    fn large_numbers_and_strings_are_tokens() {
        let number = Comparison { constant: RIGHT_CONSTANT, ..compared(1, INTEGER, b"abcd", b"MAGI") };
        check(&[number, number], &[], &[b"MAGI", b"IGAM"]);
        let [before, after] = [b"abcd", b"wxyz"].map(|side| compared(1, STRING, side, b"select"));
        check(&[before], &[after], &[b"select"]);
    }

    #[test]
    fn counts_and_what_moves_with_the_input_are_none() {
        let of = |bytes: &[u8]| Comparison { constant: RIGHT_CONSTANT, ..compared(1, INTEGER, b"abcd", bytes) };
        check(&[of(b"\xFF\0\0\0"), of(b"\xFE\xFF\xFF\xFF"), of(b"M")], &[], &[]);
        check(&[compared(1, MEMORY, b"abcd", b"sum1")], &[compared(1, MEMORY, b"wxyz", b"sum2")], &[]);
    }
}
