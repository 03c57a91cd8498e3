//! Colouring: as much of an input as possible is made random while the target does the same with it.
//!
//! What a compare's operand then shows tells where in the input it comes from, because no two places
//! hold the same any more (REDQUEEN, NDSS 2019, section III-B). The search is AFL++'s: all at once,
//! and halves of what went wrong. LibAFL's `ColorizationStage` is the same search, but it hashes a
//! `MapObserver` over the whole map after each run (the row `observer-1m` of `benches/` has what the
//! whole map costs), where the sorted hits of a run cost what the run touched.

use std::ops::Range;

use libafl::Error;
use libafl_bolts::rands::Rand;

/// Another byte of the same kind, so that what reads text goes on reading text.
fn like(byte: u8, rand: &mut impl Rand) -> u8 {
    let of = |kind: &dyn Fn(u8) -> bool| (0..=255).filter(|other| kind(*other) && *other != byte).collect::<Vec<u8>>();
    let others = match byte {
        // No zero: one at the front would leave a number of fewer digits.
        b'0'..=b'9' => of(&|c| (b'1'..=b'9').contains(&c)),
        b'a'..=b'z' => of(&|c| c.is_ascii_lowercase()),
        b'A'..=b'Z' => of(&|c| c.is_ascii_uppercase()),
        b' ' | b'\t' | b'\n' | b'\r' => of(&|c| b" \t\n\r".contains(&c)),
        b'!'..=b'~' => of(&|c| c.is_ascii_punctuation()),
        _ => of(&|_| true),
    };
    others[rand.below_or_zero(others.len())]
}

/// The input with every byte replaced that can be without `same` saying no, in at most `runs` runs.
///
/// # Errors
/// Those of `same`.
pub fn colour(
    input: &[u8],
    runs: usize,
    rand: &mut impl Rand,
    mut same: impl FnMut(&[u8]) -> Result<bool, Error>,
) -> Result<Vec<u8>, Error> {
    let wanted: Vec<u8> = input.iter().map(|byte| like(*byte, rand)).collect();
    let mut coloured = input.to_vec();
    let mut ranges: Vec<Range<usize>> = (!input.is_empty()).then_some(0..input.len()).into_iter().collect();
    for _ in 0..runs {
        // The longest first, and of equally long ones the earliest.
        let longest = ranges.iter().enumerate().max_by_key(|(_, r)| (r.len(), std::cmp::Reverse(r.start)));
        let Some((at, _)) = longest else { break };
        let range = ranges.swap_remove(at);
        coloured[range.clone()].copy_from_slice(&wanted[range.clone()]);
        if same(&coloured)? {
            continue;
        }
        coloured[range.clone()].copy_from_slice(&input[range.clone()]);
        let middle = range.start + range.len() / 2;
        if range.len() > 1 {
            ranges.push(range.start..middle);
            ranges.push(middle..range.end);
        }
    }
    Ok(coloured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rand::Xoshiro;

    fn check(input: &[u8], runs: usize, target: impl Fn(&[u8]) -> usize) -> Vec<u8> {
        let path = target(input);
        colour(input, runs, &mut Xoshiro::new(7), |changed| Ok(target(changed) == path)).unwrap()
    }

    #[test]
    fn what_the_target_looks_at_stays_and_the_rest_changes() {
        let coloured = check(b"KEY:12 tail\xFF", 100, |input| usize::from(input.starts_with(b"KEY:")));
        assert_eq!(&coloured[..4], b"KEY:");
        assert!(coloured[4..].iter().zip(b"12 tail\xFF").all(|(a, b)| a != b), "{coloured:?}");
        assert!(coloured[4].is_ascii_digit() && coloured[7..11].iter().all(u8::is_ascii_lowercase), "{coloured:?}");
    }

    #[test]
    fn runs_are_bounded() {
        let mut runs = 0;
        let coloured = colour(&[b'a'; 1000], 50, &mut Xoshiro::new(7), |_| {
            runs += 1;
            Ok(false)
        });
        assert_eq!((coloured.unwrap(), runs), (vec![b'a'; 1000], 50));
    }

    #[test]
    fn an_empty_input_is_not_run() {
        let coloured = colour(b"", 100, &mut Xoshiro::new(7), |_| unreachable!());
        assert_eq!(coloured.unwrap(), b"");
    }

    proptest::proptest! {
        #[test]
        fn a_byte_becomes_another_of_its_kind(byte: u8, seed: u64) {
            let other = like(byte, &mut Xoshiro::new(seed));
            proptest::prop_assert!(other != byte);
            proptest::prop_assert!(!byte.is_ascii_graphic() || other.is_ascii_digit() == byte.is_ascii_digit());
        }
    }
}
