//! Which edges of one module were hit, and how often: sparse, rising, one class an edge.
//!
//! Owns that order and its packed form in files. Knows nothing of modules: whether an edge exists is
//! checked by whoever knows how many there are.

use std::cmp::Ordering;

use hitmap_wire::class::{Class, of_rank, rank};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Gained, Malformed};

/// One edge that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// The edge, counted from 0 within its module.
    pub edge: u32,
    /// How often: 1, 2, 4, 8, 16, 32, 64 or 128, as in [`hitmap_wire::class`].
    pub class: Class,
}

/// The hits of one module, by rising edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hits(Vec<Hit>);

impl Hits {
    /// Takes hits that rise already.
    ///
    /// # Errors
    /// [`Malformed::Order`] and [`Malformed::Class`].
    pub fn new(hits: Vec<Hit>) -> Result<Hits, Malformed> {
        check_classes(&hits)?;
        match hits.windows(2).find(|pair| pair[0].edge >= pair[1].edge) {
            Some(pair) => Err(Malformed::Order { edge: pair[1].edge, before: pair[0].edge }),
            None => Ok(Hits(hits)),
        }
    }

    /// Takes hits in any order; of an edge that is there twice the larger class stays.
    ///
    /// # Errors
    /// [`Malformed::Class`].
    pub fn from_unsorted(mut hits: Vec<Hit>) -> Result<Hits, Malformed> {
        check_classes(&hits)?;
        hits.sort_unstable_by_key(|hit| (hit.edge, std::cmp::Reverse(hit.class)));
        hits.dedup_by_key(|hit| hit.edge);
        Ok(Hits(hits))
    }

    /// The class of `edge`; 0 when it was not hit.
    pub fn class(&self, edge: u32) -> Class {
        self.0.binary_search_by_key(&edge, |hit| hit.edge).map_or(0, |at| self.0[at].class)
    }

    /// Edges of either, with the larger class.
    pub fn union(&self, other: &Hits) -> Hits {
        let mut all = Vec::with_capacity(self.len() + other.len());
        pairs(self, other, |edge, a, b| all.push(Hit { edge, class: a.max(b) }));
        Hits(all)
    }

    /// Takes in the other's edges, with the larger class.
    pub fn merge(&mut self, other: &Hits) -> Gained {
        let mut gained = Gained::default();
        let mut all = Vec::with_capacity(self.len() + other.len());
        pairs(self, other, |edge, a, b| {
            gained.edges += u64::from(a == 0);
            gained.classes += u64::from(a != 0 && b > a);
            all.push(Hit { edge, class: a.max(b) });
        });
        self.0 = all;
        gained
    }

    /// Edges of both, with the smaller class.
    pub fn intersection(&self, other: &Hits) -> Hits {
        self.choose(other, |a, b| a.min(b))
    }

    /// Edges of this one that the other does not have at all.
    pub fn difference(&self, other: &Hits) -> Hits {
        self.choose(other, |a, b| if b == 0 { a } else { 0 })
    }

    /// Edges that only one of both has.
    pub fn symmetric_difference(&self, other: &Hits) -> Hits {
        self.choose(other, |a, b| if a == 0 || b == 0 { a | b } else { 0 })
    }

    /// Whether the other has every edge of this one, in whatever class.
    pub fn is_subset(&self, other: &Hits) -> bool {
        let mut subset = true;
        pairs(self, other, |_, _, b| subset &= b != 0);
        subset
    }

    fn choose(&self, other: &Hits, class: impl Fn(Class, Class) -> Class) -> Hits {
        let mut chosen = Vec::new();
        pairs(self, other, |edge, a, b| {
            let class = class(a, b);
            if class != 0 {
                chosen.push(Hit { edge, class });
            }
        });
        Hits(chosen)
    }
}

impl std::ops::Deref for Hits {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Hits {
    type Item = &'a Hit;
    type IntoIter = std::slice::Iter<'a, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

fn check_classes(hits: &[Hit]) -> Result<(), Malformed> {
    match hits.iter().find(|hit| !hit.class.is_power_of_two()) {
        Some(hit) => Err(Malformed::Class { edge: hit.edge, class: hit.class }),
        None => Ok(()),
    }
}

/// Calls `visit` with every edge of either and its class in each, 0 for not hit, by rising edge.
fn pairs(a: &Hits, b: &Hits, mut visit: impl FnMut(u32, Class, Class)) {
    let (mut a, mut b) = (a.0.as_slice(), b.0.as_slice());
    while let ([x, after_x @ ..], [y, after_y @ ..]) = (a, b) {
        match x.edge.cmp(&y.edge) {
            Ordering::Less => {
                visit(x.edge, x.class, 0);
                a = after_x;
            }
            Ordering::Greater => {
                visit(y.edge, 0, y.class);
                b = after_y;
            }
            Ordering::Equal => {
                visit(x.edge, x.class, y.class);
                (a, b) = (after_x, after_y);
            }
        }
    }
    a.iter().for_each(|x| visit(x.edge, x.class, 0));
    b.iter().for_each(|y| visit(y.edge, 0, y.class));
}

/// A list of numbers, one a hit: the edges skipped since the hit before, times eight, plus the
/// class's rank less one. Neighbours cost one byte each in postcard.
impl Serialize for Hits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        let mut next = 0;
        for hit in self {
            list.serialize_element(&((u64::from(hit.edge) - next) << 3 | u64::from(rank(hit.class) - 1)))?;
            next = u64::from(hit.edge) + 1;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Hits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hits, D::Error> {
        struct Packed;

        impl<'de> Visitor<'de> for Packed {
            type Value = Hits;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("packed hits")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Hits, A::Error> {
                // postcard gives no hint that is larger than the bytes that are left.
                let mut hits = Vec::with_capacity(list.size_hint().unwrap_or(0));
                let mut next = 0u64;
                while let Some(packed) = list.next_element::<u64>()? {
                    let edge = u32::try_from(next + (packed >> 3)).map_err(|_| A::Error::custom("edge past 2^32"))?;
                    hits.push(Hit { edge, class: of_rank((packed & 7) as u8 + 1) });
                    next = u64::from(edge) + 1;
                }
                Ok(Hits(hits))
            }
        }

        deserializer.deserialize_seq(Packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(of: &[(u32, u8)]) -> Hits {
        Hits::new(of.iter().map(|&(edge, class)| Hit { edge, class }).collect()).unwrap()
    }

    #[test]
    fn operations_by_example() {
        let (a, b) = (hits(&[(0, 1), (3, 8), (9, 2)]), hits(&[(3, 4), (10, 128)]));
        assert_eq!(a.union(&b), hits(&[(0, 1), (3, 8), (9, 2), (10, 128)]));
        assert_eq!(a.intersection(&b), hits(&[(3, 4)]));
        assert_eq!(a.difference(&b), hits(&[(0, 1), (9, 2)]));
        assert_eq!(a.symmetric_difference(&b), hits(&[(0, 1), (9, 2), (10, 128)]));
        assert!(hits(&[(3, 128)]).is_subset(&a) && !b.is_subset(&a));
        assert_eq!((a.class(3), a.class(4)), (8, 0));
    }

    #[test]
    fn disorder_and_false_classes_are_refused() {
        let hit = |edge, class| Hit { edge, class };
        assert_eq!(Hits::new(vec![hit(2, 1), hit(2, 1)]), Err(Malformed::Order { edge: 2, before: 2 }));
        assert_eq!(Hits::new(vec![hit(2, 3)]), Err(Malformed::Class { edge: 2, class: 3 }));
        assert_eq!(Hits::new(vec![hit(2, 0)]), Err(Malformed::Class { edge: 2, class: 0 }));
        let sorted = Hits::from_unsorted(vec![hit(2, 1), hit(1, 1), hit(2, 4)]).unwrap();
        assert_eq!(sorted, hits(&[(1, 1), (2, 4)]));
    }

    #[test]
    fn edges_past_the_last_are_refused() {
        let last = hits(&[(u32::MAX - 1, 1), (u32::MAX, 128)]);
        let bytes = postcard::to_allocvec(&last).unwrap();
        assert_eq!(postcard::from_bytes::<Hits>(&bytes), Ok(last));
        for packed in [vec![1u64 << 35], vec![u64::MAX], vec![(u64::from(u32::MAX)) << 3, 0]] {
            let bytes = postcard::to_allocvec(&packed).unwrap();
            assert!(postcard::from_bytes::<Hits>(&bytes).is_err());
        }
    }
}
