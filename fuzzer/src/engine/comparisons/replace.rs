//! From what two runs compared to what is worth putting into the input.
//!
//! An operand stems from the input where its value stands there in both runs: in the plain input, and,
//! another value, at the same place of the coloured one. There goes what it was compared with in the
//! plain run. Length fields and checksums fall out of it: what the target computed from the rest of
//! the plain input is right for the input in which nothing but the field differs.
//!
//! Not LibAFL's `AflppRedQueen`: it wants AFL++'s log, 60 operands at each of 65,536 ids with bit
//! fields of its own (48 MiB to reset and to walk), and gives whole inputs, where these are differences
//! of a few bytes that can wait for the next visit. Nor `I2SRandReplace`, which draws a compare and a
//! place: of six nested compares it tries the one that matters as seldom as all others (the row
//! `engine-replace` of `benches/`).

use std::collections::{HashMap, HashSet};

use hitmap_wire::comparisons::{self, Comparison};

use super::encode::{Form, forms, integer, write};

/// Places that are tried for one operand in one form.
const PLACES: usize = 24;
/// Bytes of a string that must agree when not all of it stands in the input.
const ENOUGH: usize = 3;
/// Patches of one input: what is beyond them comes when the input is looked at again.
const PATCHES: usize = 8192;

/// A change to an input: what is cut out, and what takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Patch {
    at: usize,
    cut: usize,
    put: Vec<u8>,
}

impl Patch {
    /// Makes `changed` of an input of this length.
    pub fn whole(len: usize, changed: &[u8]) -> Patch {
        Patch { at: 0, cut: len, put: changed.to_vec() }
    }

    /// The changed input, in the three parts that it is made of. `input` is the one it was found for.
    pub fn parts<'a>(&'a self, input: &'a [u8]) -> [&'a [u8]; 3] {
        [&input[..self.at], &self.put, &input[self.at + self.cut..]]
    }
}

/// A run with the log on.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// What ran.
    pub input: &'a [u8],
    /// What it compared, in order.
    pub log: &'a [Comparison],
}

/// How much a patch promises; the best are run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    /// Two bytes or more, and colouring shows where they come from.
    Traced,
    /// Two bytes or more that stand there.
    Alike,
    /// One off what was compared, or the length of the whole input.
    Near,
    /// A single byte: chance finds it, too.
    Byte,
}

/// Both runs of one input, made ready for looking values up.
struct Pair<'a> {
    plain: &'a [u8],
    coloured: &'a [u8],
    places: Vec<Vec<usize>>,
}

impl<'a> Pair<'a> {
    fn new(plain: &'a [u8], coloured: &'a [u8]) -> Pair<'a> {
        let mut places = vec![Vec::new(); 256];
        for (at, byte) in plain.iter().enumerate() {
            places[usize::from(*byte)].push(at);
        }
        Pair { plain, coloured, places }
    }

    /// Where `plain` stands in the plain and `coloured` in the coloured input, with how many bytes of
    /// it do; at most [`PLACES`].
    fn find(&self, plain: &[u8], coloured: &[u8], least: usize) -> Vec<(usize, usize)> {
        let Some(first) = plain.first() else { return Vec::new() };
        let agrees = |at: &usize| {
            let agreeing = |all: &[u8], part: &[u8]| all[*at..].iter().zip(part).take_while(|(a, b)| a == b).count();
            let agreeing = agreeing(self.plain, plain).min(agreeing(self.coloured, coloured));
            (agreeing >= least).then_some((*at, agreeing))
        };
        self.places[usize::from(*first)].iter().filter_map(agrees).take(PLACES).collect()
    }

    fn is_traced(&self, at: usize, len: usize) -> bool {
        self.plain[at..at + len] != self.coloured[at..at + len]
    }
}

struct Collected {
    len: usize,
    known: HashSet<Patch>,
    patches: Vec<(Promise, Patch)>,
}

impl Collected {
    fn add(&mut self, promise: Promise, at: usize, cut: usize, put: &[u8]) {
        let patch = Patch { at, cut: cut.min(self.len - at), put: put.to_vec() };
        if self.patches.len() < PATCHES && self.known.insert(patch.clone()) {
            self.patches.push((promise, patch));
        }
    }
}

/// What to put into the plain input, the most promising first. `coloured` is another input of the same
/// length that takes the same way.
pub fn patches(plain: Run<'_>, coloured: Run<'_>) -> Vec<Patch> {
    debug_assert_eq!(plain.input.len(), coloured.input.len());
    let pair = Pair::new(plain.input, coloured.input);
    let mut collected = Collected { len: plain.input.len(), known: HashSet::new(), patches: Vec::new() };
    let mut done = HashSet::new();
    for (before, after) in pairs(plain.log, coloured.log) {
        let key = (before.kind, before.left(), before.right(), after.left(), after.right());
        if !done.insert(key) {
            continue;
        }
        // What the compiler knew stems from no input.
        if before.constant & comparisons::LEFT_CONSTANT == 0 {
            one_way(&pair, before.kind, (before.left(), after.left()), before.right(), &mut collected);
        }
        if before.constant & comparisons::RIGHT_CONSTANT == 0 && before.kind != comparisons::SWITCH {
            one_way(&pair, before.kind, (before.right(), after.right()), before.left(), &mut collected);
        }
    }
    collected.patches.sort_by_key(|(promise, _)| *promise);
    collected.patches.into_iter().map(|(_, patch)| patch).collect()
}

/// Each comparison of the plain run with the one that ran at the same place, as often before.
fn pairs<'a>(
    plain: &'a [Comparison],
    coloured: &'a [Comparison],
) -> impl Iterator<Item = (&'a Comparison, &'a Comparison)> {
    let mut at_site: HashMap<u64, std::vec::IntoIter<&Comparison>> = HashMap::new();
    let mut all: HashMap<u64, Vec<&Comparison>> = HashMap::new();
    for comparison in coloured {
        all.entry(comparison.site).or_default().push(comparison);
    }
    at_site.extend(all.into_iter().map(|(site, found)| (site, found.into_iter())));
    plain.iter().filter_map(move |before| {
        let after = at_site.get_mut(&before.site)?.next()?;
        (after.kind == before.kind).then_some((before, after))
    })
}

/// Puts `wanted` where the operand comes from; `operand` has its value in both runs.
fn one_way(pair: &Pair<'_>, kind: u8, operand: (&[u8], &[u8]), wanted: &[u8], collected: &mut Collected) {
    match kind {
        comparisons::INTEGER | comparisons::SWITCH => number(pair, kind, operand, wanted, collected),
        comparisons::MEMORY | comparisons::STRING => bytes(pair, kind, operand, wanted, collected),
        _ => {}
    }
}

fn number(pair: &Pair<'_>, kind: u8, operand: (&[u8], &[u8]), wanted: &[u8], collected: &mut Collected) {
    let width = operand.0.len();
    if !matches!(width, 1 | 2 | 4 | 8) || operand.1.len() != width || wanted.len() != width {
        return;
    }
    let (before, after, wanted) = (integer(operand.0), integer(operand.1), integer(wanted));
    if is_address(width, before) && is_address(width, wanted) {
        return;
    }
    let values = [(wanted, false), (wanted.wrapping_add(1), true), (wanted.wrapping_sub(1), true)];
    let mask = u64::MAX >> (64 - 8 * width);
    for form in forms(width) {
        let (Some(old), Some(seen)) = (write(before, width, form), write(after, width, form)) else { continue };
        // A number that is written as text must be as long in both inputs to stand at one place.
        if old.len() != seen.len() {
            continue;
        }
        for (at, len) in pair.find(&old, &seen, old.len()) {
            for (value, near) in values {
                let promise = match form {
                    Form::Little(1) if near => continue,
                    Form::Little(1) => Promise::Byte,
                    _ if near && kind == comparisons::SWITCH => continue,
                    _ if near => Promise::Near,
                    _ if pair.is_traced(at, len) => Promise::Traced,
                    _ => Promise::Alike,
                };
                if let Some(new) = write(value & mask, width, form).filter(|new| *new != old) {
                    collected.add(promise, at, len, &new);
                }
            }
        }
    }
    length(pair, before, after, wanted, collected);
}

/// An operand that is the length of the input asks for another length.
fn length(pair: &Pair<'_>, before: u64, after: u64, wanted: u64, collected: &mut Collected) {
    let len = pair.plain.len();
    if before != len as u64 || after != before || wanted == before || wanted > 2 * before + 64 {
        return;
    }
    let wanted = wanted as usize;
    if wanted < len {
        collected.add(Promise::Near, wanted, len - wanted, b"");
    } else {
        let more: Vec<u8> = pair.plain.iter().copied().chain(b"0".iter().copied()).cycle().take(wanted - len).collect();
        collected.add(Promise::Near, len, 0, &more);
    }
}

/// Addresses differ from process to process and stand in no input: user space ends at 2^47.
fn is_address(width: usize, value: u64) -> bool {
    width == 8 && (1 << 40..1 << 47).contains(&value)
}

fn bytes(pair: &Pair<'_>, kind: u8, operand: (&[u8], &[u8]), wanted: &[u8], collected: &mut Collected) {
    let (before, after) = operand;
    if before == wanted || wanted.is_empty() {
        return;
    }
    let least = before.len().min(after.len()).min(ENOUGH);
    for (at, len) in pair.find(before, after, least) {
        let promise = match (len, pair.is_traced(at, len)) {
            (0..2, _) => Promise::Byte,
            (_, true) => Promise::Traced,
            (_, false) => Promise::Alike,
        };
        collected.add(promise, at, wanted.len(), wanted);
        if len != wanted.len() {
            collected.add(promise, at, len, wanted);
        }
        if kind == comparisons::STRING {
            collected.add(promise, at, wanted.len() + 1, &[wanted, b"\0"].concat());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::mock::compared;
    use hitmap_wire::comparisons::{INTEGER, MEMORY, OPERAND, STRING};

    /// The inputs that are made of `plain` when the left operands stem from it.
    fn check(plain: &[u8], coloured: &[u8], kind: u8, operands: [(&[u8], &[u8]); 2]) -> Vec<Vec<u8>> {
        let [before, after] = operands.map(|(left, right)| [compared(1, kind, left, right)]);
        let patches = patches(Run { input: plain, log: &before }, Run { input: coloured, log: &after });
        patches.iter().map(|patch| patch.parts(plain).concat()).collect()
    }

    #[test]
    fn a_magic_number_goes_where_the_operand_stood() {
        let made = check(b"..aabb..", b"..ccdd..", INTEGER, [(b"aabb", b"MAGI"), (b"ccdd", b"MAGI")]);
        assert_eq!(made[0], b"..MAGI..");
        let made = check(b"..aabb..", b"..ccdd..", INTEGER, [(b"bbaa", b"MAGI"), (b"ddcc", b"MAGI")]);
        assert_eq!(made[0], b"..IGAM..", "the target reads it the other way round");
    }

    #[test]
    fn a_place_that_colouring_rules_out_is_left() {
        let made = check(b"aa..aa", b"xx..yy", INTEGER, [(b"aa", b"OK"), (b"yy", b"OK")]);
        assert_eq!(made[0], b"aa..OK");
        assert!(!made.contains(&b"OK..aa".to_vec()));
    }

    #[test]
    fn what_was_computed_comes_from_the_plain_run() {
        let sums: [(&[u8], &[u8]); 2] = [(b"\x01\x02\x03\x04", b"SUM1"), (b"\x05\x06\x07\x08", b"SUM2")];
        let made = check(b"\x01\x02\x03\x04rest", b"\x05\x06\x07\x08tser", INTEGER, sums);
        assert_eq!(made[0], b"SUM1rest");
    }

    #[test]
    fn narrow_fields_and_neighbours_are_tried() {
        let fields: [(&[u8], &[u8]); 2] =
            [(b"\x34\x12\0\0\0\0\0\0", b"\x02\x01\0\0\0\0\0\0"), (b"\x78\x56\0\0\0\0\0\0", b"\x02\x01\0\0\0\0\0\0")];
        let made = check(b"\x12\x34!", b"\x56\x78!", INTEGER, fields);
        assert_eq!(made, [b"\x01\x02!", b"\x01\x03!", b"\x01\x01!"]);
    }

    #[test]
    fn numbers_may_be_text() {
        let fields: [(&[u8], &[u8]); 2] = [(&[12, 0, 0, 0], &[0xE8, 3, 0, 0]), (&[34, 0, 0, 0], &[0xE8, 3, 0, 0])];
        assert_eq!(
            check(b"n=12;", b"m=34:", INTEGER, fields),
            [b"n=1000;".to_vec(), b"n=1001;".to_vec(), b"n=999;".to_vec()]
        );
    }

    #[test]
    fn strings_are_put_over_and_between() {
        let made = check(b"key=abc;", b"yek=xyz:", STRING, [(b"abc;", b"secret"), (b"xyz:", b"secret")]);
        assert_eq!(made, [b"key=secret".to_vec(), b"key=secret\0".to_vec()]);
        let made = check(b"abcdef", b"uvwxyz", MEMORY, [(b"abc\0\0", b"MAGIC"), (b"uvw\0\0", b"MAGIC")]);
        assert_eq!(made, [b"MAGICf".to_vec(), b"MAGICdef".to_vec()]);
    }

    #[test]
    fn a_length_that_is_asked_for_is_made() {
        let fields: [(&[u8], &[u8]); 2] = [(&[4, 0, 0, 0], &[6, 0, 0, 0]); 2];
        assert!(check(b"abcd", b"wxyz", INTEGER, fields).contains(&b"abcdab".to_vec()));
        let fields: [(&[u8], &[u8]); 2] = [(&[4, 0, 0, 0], &[3, 0, 0, 0]); 2];
        assert!(check(b"abcd", b"wxyz", INTEGER, fields).contains(&b"abc".to_vec()));
    }

    #[test]
    fn addresses_are_no_values() {
        let fields: [(&[u8], &[u8]); 2] = [(b"\0\0\0\0\0\x55\0\0", b"\0\0\0\0\x01\x55\0\0"); 2];
        assert_eq!(check(&[0; 64], &[0; 64], INTEGER, fields), Vec::<Vec<u8>>::new());
    }

    proptest::proptest! {
        /// A child that has gone mad may have written anything into the log.
        #[test]
        fn any_log_is_safe(plain: Vec<u8>, fields: Vec<(u8, u8, u8, u8, [u8; 8])>, cut: u8) {
            let mad = |(kind, constant, left_len, right_len, bytes): &(u8, u8, u8, u8, [u8; 8])| Comparison {
                kind: kind % 6, constant: *constant, left_len: *left_len, right_len: *right_len,
                ..compared(u64::from(bytes[0] % 3), 0, bytes, bytes)
            };
            let log: Vec<Comparison> = fields.iter().map(mad).collect();
            let coloured: Vec<u8> = plain.iter().map(|byte| byte ^ (cut & 1)).collect();
            let short = &log[usize::from(cut).min(log.len())..];
            for patch in patches(Run { input: &plain, log: &log }, Run { input: &coloured, log: short }) {
                proptest::prop_assert!(patch.parts(&plain).concat().len() <= 3 * plain.len() + 64 + OPERAND + 1);
            }
        }
    }
}
