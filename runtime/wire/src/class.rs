//! Hit classes: how often an edge ran within one input, in eight steps.
//!
//! The steps are AFL's ("count buckets", `docs/technical_details.txt` in AFL): 1, 2, 3, 4-7, 8-15,
//! 16-31, 32-127 and 128 or more. A class is stored as its power of two, so the values equal those
//! of LibAFL's `HitcountsMapObserver` and a larger byte always means more hits.

/// A hit class: 0 (not hit) or one of 1, 2, 4, 8, 16, 32, 64, 128.
pub type Class = u8;

/// The class of an edge that is known to be hit although its 8-bit counter reads 0: the counter
/// wrapped, so there were at least 256 hits.
pub const WRAPPED: Class = 128;

pub(crate) const OF_COUNT: [Class; 256] = {
    let mut table = [0u8; 256];
    let mut count = 1;
    while count < 256 {
        table[count] = match count {
            1 => 1,
            2 => 2,
            3 => 4,
            4..=7 => 8,
            8..=15 => 16,
            16..=31 => 32,
            32..=127 => 64,
            _ => 128,
        };
        count += 1;
    }
    table
};

/// The class of `count` hits.
///
/// ```
/// use hitmap_wire::class::of_count;
/// assert_eq!([0, 1, 2, 3, 5, 9, 31, 127, 255].map(of_count), [0, 1, 2, 4, 8, 16, 32, 64, 128]);
/// ```
#[inline]
pub fn of_count(count: u8) -> Class {
    static TABLE: [Class; 256] = OF_COUNT;
    TABLE[usize::from(count)]
}

/// The largest count that `class` covers: `of_count(n) <= class` exactly when `n` is at most that.
/// Any byte is fine, also one that is no class.
#[inline]
pub fn largest_count(class: u8) -> u8 {
    const OF_RANK: [u8; 9] = [0, 1, 2, 3, 7, 15, 31, 127, 255];
    OF_RANK[usize::from(rank(class))]
}

/// The class as a rank from 0 (not hit) to 8, which is how snapshots store it.
#[inline]
pub fn rank(class: Class) -> u8 {
    match class {
        0 => 0,
        c => c.ilog2() as u8 + 1,
    }
}

/// The class of a rank; ranks above 8 mean 8.
#[inline]
pub fn of_rank(rank: u8) -> Class {
    match rank {
        0 => 0,
        r => 1 << (r.min(8) - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_grow_with_counts() {
        for count in 1..=255u8 {
            assert!(of_count(count) >= of_count(count - 1));
            assert!(of_count(count).is_power_of_two());
        }
    }

    #[test]
    fn the_largest_count_is_where_a_class_ends() {
        for class in 0..=255 {
            for count in 0..=255 {
                assert_eq!(of_count(count) <= class, count <= largest_count(class), "{count} hits, {class}");
            }
        }
    }

    #[test]
    fn rank_and_class_are_inverse() {
        for r in 0..=8 {
            assert_eq!(rank(of_rank(r)), r);
        }
    }
}
