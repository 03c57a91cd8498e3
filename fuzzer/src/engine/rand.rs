//! The one source of chance: xoshiro256++ behind LibAFL's `Rand`.

use libafl_bolts::rands::Rand;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// A seeded generator. Every random decision of an engine comes from its one instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Xoshiro(Xoshiro256PlusPlus);

impl Xoshiro {
    /// A generator whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Xoshiro {
        Xoshiro(Xoshiro256PlusPlus::seed_from_u64(seed))
    }
}

impl Rand for Xoshiro {
    fn set_seed(&mut self, seed: u64) {
        *self = Xoshiro::new(seed);
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut rand = Xoshiro::new(seed);
            [(); 4].map(|()| rand.next())
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }
}
