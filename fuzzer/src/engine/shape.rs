//! Mutations of an input's shape: they keep brackets and separators in balance where havoc breaks them.
//!
//! Knows no format. A bracketed part is what stands between `(`, `[`, `{` or `<` and the byte that closes
//! it; a separator is a byte that comes again, and so is the tag or the padding of a binary record. The
//! ideas are Radamsa's (its mutations of sequences, trees and numbers): what havoc needs two changes at
//! once for, one level more or one element more, is one change here, and many levels are one, too. In a
//! binary format nothing closes a part: its length or its count stands before it, and both change together.

use std::borrow::Cow;

use libafl::Error;
use libafl::corpus::Corpus;
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::mutators::{MutationResult, Mutator};
use libafl::state::{HasCorpus, HasMaxSize, HasRand};
use libafl_bolts::Named;
use libafl_bolts::rands::Rand;
use libafl_bolts::tuples::{tuple_list, tuple_list_type};

use super::State;
use super::rand::Xoshiro;

/// A part is repeated up to two to this power times; twice as many times comes a quarter as often, so that
/// inputs stay short: with half as often, ujson ran at less than half of its rate.
const REPEATS: u32 = 10;
/// Draws of a byte that is to be a separator; the last one may be a letter or a digit.
const DRAWS: usize = 4;
/// What a part that is repeated adds to a short input at the most, in bytes; a long one doubles at the most.
const GROWTH: usize = 4096;
/// Digits that are read as one number.
const DIGITS: usize = 18;

/// Powers of two by which a count grows: enough for a length that no longer fits into a byte.
const MORE: usize = 9;
/// Bytes of what a count counts, at the most.
const UNIT: usize = 4;
/// A count has 1, 2 or 4 bytes.
const WIDTHS: usize = 3;

/// For a bracket that closes the one that opens; 0 for what is none.
const BRACKETS: [u8; 256] = {
    let mut all = [0; 256];
    (all[b'(' as usize], all[b'[' as usize], all[b'{' as usize], all[b'<' as usize]) = (OPENS, OPENS, OPENS, OPENS);
    (all[b')' as usize], all[b']' as usize], all[b'}' as usize], all[b'>' as usize]) = (b'(', b'[', b'{', b'<');
    all
};
const OPENS: u8 = 1;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// An element and its separator once more, or many times.
    Repeat,
    /// An element and its separator less.
    Cut,
    /// A bracketed part around itself, or around one of its own parts, once or many times.
    Nest,
    /// A bracketed part for another, of this entry or of another one.
    Graft,
    /// A number in digits for another.
    Number,
    /// A count and what it counts, both by the same number.
    Count,
}

/// One of the mutations, and memory that it uses again.
#[derive(Debug)]
pub struct Shape {
    change: Change,
    name: Cow<'static, str>,
    parts: Parts,
    others: Parts,
    made: Vec<u8>,
}

/// All of them, for LibAFL's havoc.
pub type Shapes = tuple_list_type!(Shape, Shape, Shape, Shape, Shape, Shape);

/// All of them.
pub fn shapes() -> Shapes {
    tuple_list!(
        Shape::new(Change::Repeat, "repeat"),
        Shape::new(Change::Cut, "cut"),
        Shape::new(Change::Nest, "nest"),
        Shape::new(Change::Graft, "graft"),
        Shape::new(Change::Number, "number"),
        Shape::new(Change::Count, "count"),
    )
}

impl Shape {
    fn new(change: Change, name: &'static str) -> Shape {
        Shape { change, name: name.into(), parts: Parts::default(), others: Parts::default(), made: Vec::new() }
    }

    /// Makes the changed input in `made`. `None` when there is nothing to do it to, or no room.
    fn make(&mut self, input: &[u8], other: Option<&[u8]>, max_len: usize, rand: &mut Xoshiro) -> Option<()> {
        let made = &mut self.made;
        made.clear();
        if matches!(self.change, Change::Nest | Change::Graft) {
            self.parts.find(input);
        }
        match self.change {
            Change::Repeat => {
                let (from, to) = alike(input, rand)?;
                let times = times(rand).min(room(input, max_len) / (to - from));
                made.extend_from_slice(&input[..to]);
                repeat(made, &input[from..to], times);
                made.extend_from_slice(&input[to..]);
                (times > 0).then_some(())
            }
            Change::Cut => {
                let (from, to) = alike(input, rand)?;
                made.extend_from_slice(&input[..from]);
                made.extend_from_slice(&input[to..]);
                Some(())
            }
            Change::Nest => {
                let (from, to) = self.parts.draw(rand)?;
                let bare = (from + 1, to - 1);
                let inner = if rand.coinflip(0.5) { self.parts.draw_within(from, to, rand) } else { None };
                let (head, tail) = inner.unwrap_or(bare);
                let level = (head - from) + (to - tail);
                let times = times(rand).min(room(input, max_len) / level);
                made.extend_from_slice(&input[..from]);
                repeat(made, &input[from..head], times);
                made.extend_from_slice(&input[from..to]);
                repeat(made, &input[tail..to], times);
                made.extend_from_slice(&input[to..]);
                (times > 0).then_some(())
            }
            Change::Graft => {
                let (from, to) = self.parts.draw(rand)?;
                let donor = other.unwrap_or(input);
                self.others.find(donor);
                let (first, last) = self.others.draw(rand)?;
                made.extend_from_slice(&input[..from]);
                made.extend_from_slice(&donor[first..last]);
                made.extend_from_slice(&input[to..]);
                (made.len() <= max_len && made != input).then_some(())
            }
            Change::Number => {
                let (from, to) = number(input, rand)?;
                let value = input[from..to].iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
                made.extend_from_slice(&input[..from]);
                let (sign, value) = another(value, rand);
                made.extend_from_slice(sign.as_bytes());
                made.extend_from_slice(value.to_string().as_bytes());
                made.extend_from_slice(&input[to..]);
                (made.len() <= max_len && made != input).then_some(())
            }
            Change::Count => {
                let field = Field::draw(input, rand)?;
                let more = 1_usize << rand.below_or_zero(MORE);
                let behind = &input[field.end()..];
                // A byte mostly, and sometimes a few; where the input ends, any of its bytes.
                let unit = 1 + (rand.next().trailing_zeros() as usize).min(UNIT - 1);
                let any = [input[rand.below_or_zero(input.len())]];
                let unit = behind.get(..unit).unwrap_or(&any);
                if more * unit.len() > room(input, max_len) {
                    return None;
                }
                made.extend_from_slice(&input[..field.end()]);
                field.add(more as u64, &mut made[field.at..])?;
                repeat(made, unit, more);
                made.extend_from_slice(behind);
                Some(())
            }
        }
    }
}

impl Mutator<BytesInput, State> for Shape {
    fn mutate(&mut self, state: &mut State, input: &mut BytesInput) -> Result<MutationResult, Error> {
        let max_len = state.max_size();
        // Half of the grafts come from another entry.
        let entries = state.corpus().count();
        let is_graft = self.change == Change::Graft
            && input.mutator_bytes().iter().any(|byte| BRACKETS[usize::from(*byte)] > OPENS);
        let other = if is_graft && entries > 0 && state.rand_mut().coinflip(0.5) {
            let drawn = state.rand_mut().below_or_zero(entries);
            let id = state.corpus().nth(drawn);
            Some(state.corpus().cloned_input_for_id(id)?)
        } else {
            None
        };
        let other = other.as_ref().map(HasMutatorBytes::mutator_bytes);
        if self.make(input.mutator_bytes(), other, max_len, state.rand_mut()).is_none() {
            return Ok(MutationResult::Skipped);
        }
        std::mem::swap(input.as_mut(), &mut self.made);
        Ok(MutationResult::Mutated)
    }

    fn post_exec(&mut self, _: &mut State, _: Option<libafl::corpus::CorpusId>) -> Result<(), Error> {
        Ok(())
    }
}

impl Named for Shape {
    fn name(&self) -> &Cow<'static, str> {
        &self.name
    }
}

/// Bracketed parts of an input, brackets included, in the order in which they close.
#[derive(Debug, Default)]
struct Parts {
    all: Vec<(usize, usize)>,
    open: Vec<usize>,
}

impl Parts {
    /// Finds them. A bracket without a partner is an ordinary byte.
    fn find(&mut self, input: &[u8]) {
        self.all.clear();
        self.open.clear();
        for (at, byte) in input.iter().enumerate() {
            let opens = match BRACKETS[usize::from(*byte)] {
                0 => continue,
                OPENS => {
                    self.open.push(at);
                    continue;
                }
                opens => opens,
            };
            if let Some(level) = self.open.iter().rposition(|from| input[*from] == opens) {
                self.all.push((self.open[level], at + 1));
                self.open.truncate(level);
            }
        }
    }

    fn draw(&self, rand: &mut Xoshiro) -> Option<(usize, usize)> {
        self.all.get(rand.below_or_zero(self.all.len())).copied()
    }

    /// One that lies within another.
    fn draw_within(&self, from: usize, to: usize, rand: &mut Xoshiro) -> Option<(usize, usize)> {
        let end = self.all.partition_point(|part| part.1 < to);
        let begin = self.all.partition_point(|part| part.1 <= from);
        self.all[begin..end].get(rand.below_or_zero(end - begin)).copied()
    }
}

/// From a byte up to where it comes again: the next time mostly, twice as far half as often.
fn alike(input: &[u8], rand: &mut Xoshiro) -> Option<(usize, usize)> {
    for draw in 1..=DRAWS {
        let from = rand.below_or_zero(input.len());
        let byte = *input.get(from)?;
        if draw < DRAWS && byte.is_ascii_alphanumeric() {
            continue;
        }
        let further = rand.next().trailing_zeros() as usize;
        let again = input[from + 1..].iter().enumerate().filter(|(_, other)| **other == byte);
        if let Some((distance, _)) = again.take(further + 1).last() {
            return Some((from, from + 1 + distance));
        }
    }
    None
}

/// Bytes that may be a number of what stands behind them.
#[derive(Clone, Copy, Debug)]
struct Field {
    at: usize,
    width: usize,
    /// The first byte counts most.
    is_big_endian: bool,
}

impl Field {
    fn draw(input: &[u8], rand: &mut Xoshiro) -> Option<Field> {
        let (at, width) = (rand.below_or_zero(input.len()), 1 << rand.below_or_zero(WIDTHS));
        let is_big_endian = rand.coinflip(0.5);
        (at + width <= input.len()).then_some(Field { at, width, is_big_endian })
    }

    fn end(&self) -> usize {
        self.at + self.width
    }

    /// Adds to the number that `bytes` begin with; `None` when it does not fit.
    fn add(&self, more: u64, bytes: &mut [u8]) -> Option<()> {
        let bytes = &mut bytes[..self.width];
        if self.is_big_endian {
            bytes.reverse();
        }
        let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)) + more;
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = (value >> (8 * at)) as u8;
        }
        if self.is_big_endian {
            bytes.reverse();
        }
        (value >> (8 * self.width) == 0).then_some(())
    }
}

/// Appends `unit` so many times. What is there doubles: a copy for each takes longer than all the rest.
fn repeat(made: &mut Vec<u8>, unit: &[u8], times: usize) {
    let (from, mut left) = (made.len(), unit.len() * times);
    made.extend_from_slice(&unit[..unit.len().min(left)]);
    left -= made.len() - from;
    while left > 0 {
        let more = left.min(made.len() - from);
        made.extend_from_within(from..from + more);
        left -= more;
    }
}

/// How many bytes may be added by repeating.
fn room(input: &[u8], max_len: usize) -> usize {
    max_len.saturating_sub(input.len()).min(GROWTH.max(input.len()))
}

fn times(rand: &mut Xoshiro) -> usize {
    1 << (rand.next().trailing_zeros() / 2).min(REPEATS)
}

/// A run of digits at or after a random place, or else the first one.
fn number(input: &[u8], rand: &mut Xoshiro) -> Option<(usize, usize)> {
    let place = rand.below_or_zero(input.len());
    let after = input[place..].iter().position(u8::is_ascii_digit).map(|at| place + at);
    let mut from = after.or_else(|| input.iter().position(u8::is_ascii_digit))?;
    while from > 0 && input[from - 1].is_ascii_digit() {
        from -= 1;
    }
    let len = input[from..].iter().take(DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    Some((from, from + len))
}

/// A neighbour of a number, a multiple, or one at the border of what a machine's integers hold; with a sign.
fn another(value: u64, rand: &mut Xoshiro) -> (&'static str, u64) {
    let bits = rand.below_or_zero(64);
    match rand.below_or_zero(8) {
        0 => ("", value + 1),
        1 => value.checked_sub(1).map_or(("-", 1), |less| ("", less)),
        2 => ("", value * 2),
        3 => ("", value / 2),
        4 => ("-", value),
        5 => ("", 1 << bits),
        6 => ("", u64::MAX >> bits),
        _ => ("", rand.next() >> bits),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Everything that many draws make of an input, with at most as many bytes as there is room for.
    fn all(change: Change, input: &[u8], other: Option<&[u8]>, max_len: usize) -> BTreeSet<Vec<u8>> {
        let mut shape = Shape::new(change, "any");
        let mut rand = Xoshiro::new(7);
        let makes = (0..20_000).filter_map(|_| {
            shape.make(input, other, max_len, &mut rand)?;
            Some(shape.made.clone())
        });
        makes.collect()
    }

    fn check(change: Change, input: &str, expect: &[&str]) {
        let all = all(change, input.as_bytes(), None, 4096);
        for text in expect {
            assert!(all.contains(text.as_bytes()), "{change:?} does not make {text} of {input}");
        }
    }

    #[test]
    fn a_list_grows_and_shrinks_by_whole_elements() {
        check(
            Change::Repeat,
            "[1, 2, 3]",
            &["[1, 2, 2, 3]", "[1, 2, 2, 2, 3]", &format!("[1{}, 3]", ", 2".repeat(17))],
        );
        check(Change::Repeat, "a\nb\nc\n", &["a\nb\nb\nc\n"]);
        check(Change::Cut, "[1, 2, 3]", &["[1, 3]"]);
        check(Change::Cut, "a=1&b=2&c=3&", &["a=1&c=3&", "a=1&"]);
    }

    #[test]
    fn nests_deepen_and_stay_balanced() {
        check(Change::Nest, r#"{"a": [1]}"#, &[r#"{"a": {"a": [1]}}"#, r#"{"a": [[1]]}"#, r#"{{"a": [1]}}"#]);
        check(Change::Nest, "(x)", &[&format!("{}x{}", "(".repeat(65), ")".repeat(65))]);
        for made in all(Change::Nest, b"f(<a>, [b{}])", None, 4096) {
            let count = |byte: u8| made.iter().filter(|b| **b == byte).count();
            assert!([b"()", b"<>", b"[]", b"{}"].iter().all(|pair| count(pair[0]) == count(pair[1])), "{made:?}");
        }
    }

    #[test]
    fn parts_take_each_other_s_place() {
        check(Change::Graft, "([1], {2})", &["({2}, {2})", "([1], [1])", "[1]", "([1], ([1], {2}))"]);
        let made = all(Change::Graft, b"a(b)", Some(b"[1][2]"), 4096);
        assert_eq!(made, BTreeSet::from([b"a[1]".to_vec(), b"a[2]".to_vec()]));
    }

    #[test]
    fn a_bracket_without_a_partner_is_an_ordinary_byte() {
        let mut parts = Parts::default();
        parts.find(b"a < (b] > c)[");
        assert_eq!(parts.all, [(2, 9)]);
        parts.find(b"(1 < 2) }");
        assert_eq!(parts.all, [(0, 7)]);
    }

    #[test]
    fn numbers_become_neighbours_and_borders() {
        let expect = ["n=42;", "n=40;", "n=82;", "n=20;", "n=-41;", "n=255;", "n=65536;", "n=18446744073709551615;"];
        check(Change::Number, "n=41;", &expect);
        check(Change::Number, "12 34", &["13 34", "12 35"]);
    }

    #[test]
    fn a_count_grows_with_what_it_counts() {
        let makes = |input: &[u8], expect: &[u8]| {
            let all = all(Change::Count, input, None, 4096);
            assert!(all.contains(expect), "no {expect:?} of {input:?}");
        };
        makes(b"\x91\x01", b"\x93\x01\x01\x01");
        makes(b"\x81\x01\x02", b"\x82\x01\x02\x01\x02");
        makes(b"\xDC\0\0", &[&b"\xDC\0\x10"[..], &[0xDC; 16]].concat());
        makes(b"\xDA\0\x01A", &[&b"\xDA\x01\x01"[..], &[b'A'; 257]].concat());
        makes(b"\x02\0\0\0ab.", &[&b"\x42\0\0\0"[..], &[b'a'; 65], b"b."].concat());
    }

    #[test]
    fn no_count_wraps() {
        assert!(all(Change::Count, b"\xFF", None, 4096).is_empty());
        assert!(all(Change::Count, b"\xFF\xFF", None, 4096).is_empty());
    }

    #[test]
    fn what_has_no_shape_is_left() {
        for change in [Change::Repeat, Change::Cut, Change::Nest, Change::Graft, Change::Number] {
            assert!(all(change, b"", None, 4096).is_empty());
            assert!(all(change, b"abc", None, 4096).is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_input_is_safe_and_none_grows_too_long(input: Vec<u8>, max_len in 0usize..300, seed: u64) {
            let mut rand = Xoshiro::new(seed);
            for change in [Change::Repeat, Change::Cut, Change::Nest, Change::Graft, Change::Number, Change::Count] {
                let mut shape = Shape::new(change, "any");
                if shape.make(&input, None, max_len, &mut rand).is_some() {
                    proptest::prop_assert!(shape.made.len() <= max_len.max(input.len()));
                }
            }
        }
    }
}
