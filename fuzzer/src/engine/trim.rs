//! Trimming: a new entry loses what the target does not look at before it is kept.
//!
//! AFL's search: chunks from half of the input down are left out, as long as the target goes the same
//! way. Knows bytes; what the same way is, its caller says.

use libafl::Error;

/// Shorter inputs are kept as they are.
pub const SHORTEST: usize = 16;
/// Runs that one input is worth at the most.
pub const RUNS: usize = 48;

/// The input without the chunks that `same` does not miss, after at most `runs` runs.
///
/// # Errors
/// Those of `same`.
pub fn trim(input: &[u8], runs: usize, mut same: impl FnMut(&[u8]) -> Result<bool, Error>) -> Result<Vec<u8>, Error> {
    let mut kept = input.to_vec();
    let mut chunk = input.len().next_power_of_two() / 2;
    let mut left = runs;
    while chunk > 0 && left > 0 {
        let mut at = 0;
        while at < kept.len() && left > 0 {
            let end = (at + chunk).min(kept.len());
            let shorter = [&kept[..at], &kept[end..]].concat();
            left -= 1;
            if !shorter.is_empty() && same(&shorter)? {
                kept = shorter;
            } else {
                at = end;
            }
        }
        chunk /= 2;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], runs: usize, needed: &[u8], expect: &[u8]) {
        let mut used = 0;
        let trimmed = trim(input, runs, |shorter| {
            used += 1;
            Ok(shorter.windows(needed.len()).any(|window| window == needed))
        });
        assert_eq!(trimmed.unwrap(), expect);
        assert!(used <= runs);
    }

    #[test]
    fn what_is_not_looked_at_goes() {
        check(b"................KEY.............................", 100, b"KEY", b"KEY");
        check(b"KEY", 100, b"KEY", b"KEY");
        check(b"", 100, b"KEY", b"");
    }

    #[test]
    fn runs_are_bounded() {
        check(b"................KEY.............................", 2, b"KEY", b"................KEY.............");
        check(b"ABC", 0, b"B", b"ABC");
    }
}
