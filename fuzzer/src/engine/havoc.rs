//! Mutation by chance: LibAFL's havoc, crossover with other entries among it, mutations of shape, and tokens.

use libafl::inputs::{BytesInput, HasMutatorBytes, ResizableMutator};
use libafl::mutators::{
    MutationResult, Mutator, Tokens, havoc_mutations, havoc_mutations_no_crossover, tokens_mutations,
};
use libafl::state::{HasMaxSize, HasRand};
use libafl::{Error, HasMetadata};
use libafl_bolts::rands::Rand;
use libafl_bolts::tuples::{IntoVec, Merge};

use super::State;
use super::objective::FindingFeedback;
use super::rand::Xoshiro;
use super::shape::shapes;

/// Mutations that are stacked at the most, as a power of two; one, two and four are equally likely.
/// LibAFL's `HavocScheduledMutator` never does a single one, and its default of up to 128 costs four
/// times as much a mutant and finds less: deep stacks destroy what the shallow ones would have got right.
/// Six nested compares behind a mock took a median of 182,000 mutants with up to 4, 462,000 with up to
/// 16. With single ones among them, 62 inputs in a thousand are valid on ujson, 56 without.
const STACK_POWER: usize = 2;
/// Mutations that had nothing to work on are drawn again so often.
const RETRIES: usize = 3;

/// Tokens that are gathered at the most, beyond those of the user: the more there are, the longer it
/// takes until one has been tried everywhere.
const GATHERED: usize = 256;

/// LibAFL's mutators, and those of shape. A table: in LibAFL's tuple of them, a draw walks past half of all.
type Mutations = Vec<Box<dyn Mutator<BytesInput, State>>>;

/// The mutator. Its tokens lie in the state, where LibAFL's token mutators look for them.
pub struct Havoc {
    mutations: Mutations,
    has_tokens: bool,
    given: usize,
    gathered: usize,
    /// How many may be gathered.
    room: usize,
}

impl Havoc {
    /// A mutator with the user's tokens, of which there may be none; `gathers` says whether others join.
    pub fn new(state: &mut State, tokens: Tokens, gathers: bool) -> Havoc {
        let room = if gathers { GATHERED } else { 0 };
        let mut havoc =
            Havoc { mutations: without_tokens(), has_tokens: false, given: tokens.len(), gathered: 0, room };
        if !tokens.is_empty() {
            state.add_metadata(tokens);
            (havoc.mutations, havoc.has_tokens) = (with_tokens(), true);
        }
        havoc
    }

    /// Takes up tokens that were gathered, as long as there is room. A mutation that has no tokens to
    /// work with would be a wasted draw, so those join with the first one.
    pub fn add_tokens(&mut self, state: &mut State, tokens: &[Vec<u8>]) {
        for token in tokens {
            if self.gathered == self.room {
                return;
            }
            let all = state.metadata_or_insert_with(Tokens::new);
            let before = all.len();
            all.add_token(token);
            self.gathered += all.len() - before;
        }
        if self.gathered > 0 && !self.has_tokens {
            (self.mutations, self.has_tokens) = (with_tokens(), true);
        }
    }

    /// Tokens in use.
    pub fn tokens(&self) -> usize {
        self.given + self.gathered
    }

    /// Changes an input. In the place of a mutation that had nothing to work on comes another one; an input
    /// on which none works (it is empty, say) stays as it is.
    ///
    /// # Errors
    /// Those of LibAFL's mutators.
    pub fn mutate(&mut self, state: &mut State, input: &mut BytesInput) -> Result<(), Error> {
        let wanted = 1 << state.rand_mut().below_or_zero(STACK_POWER + 1);
        let mut done = 0;
        for _ in 0..wanted + RETRIES {
            let drawn = state.rand_mut().below_or_zero(self.mutations.len());
            done += usize::from(self.mutations[drawn].mutate(state, input)? == MutationResult::Mutated);
            if done == wanted {
                break;
            }
        }
        Ok(())
    }
}

/// The same mutator without a campaign around it: no other entries to cross with, no tokens.
pub struct Lone {
    state: State,
    havoc: Havoc,
}

impl Lone {
    /// A mutator whose decisions follow from `seed`.
    ///
    /// # Errors
    /// What LibAFL reports.
    pub fn new(seed: u64) -> Result<Lone, Error> {
        let state = super::state(Xoshiro::new(seed), &mut FindingFeedback, 0)?;
        // LibAFL's crossover picks an entry before it looks whether there is one.
        let mutations = havoc_mutations_no_crossover().merge(shapes()).into_vec();
        Ok(Lone { state, havoc: Havoc { mutations, has_tokens: false, given: 0, gathered: 0, room: 0 } })
    }

    /// Has its next decisions follow from `seed`.
    pub fn seed(&mut self, seed: u64) {
        self.state.rand_mut().set_seed(seed);
    }

    /// A changed copy of `data` of at most `max_len` bytes. Of nothing it makes a byte first: LibAFL's
    /// mutators have nothing to work on there.
    ///
    /// # Errors
    /// Those of LibAFL's mutators.
    pub fn mutate(&mut self, data: &[u8], max_len: usize) -> Result<Vec<u8>, Error> {
        self.state.set_max_size(max_len);
        let mut input = BytesInput::new(data[..data.len().min(max_len)].to_vec());
        if data.is_empty() && max_len > 0 {
            input.extend(&[self.state.rand_mut().next() as u8]);
        }
        self.havoc.mutate(&mut self.state, &mut input)?;
        input.resize(input.mutator_bytes().len().min(max_len), 0);
        Ok(input.into_inner())
    }
}

fn without_tokens() -> Mutations {
    havoc_mutations().merge(shapes()).into_vec()
}

fn with_tokens() -> Mutations {
    havoc_mutations().merge(shapes()).merge(tokens_mutations()).into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_the_same_seed_makes_the_same_mutants() {
        let all = |seed| {
            let mut lone = Lone::new(seed).unwrap();
            [&b"some bytes"[..], b"", b"x"].map(|data| lone.mutate(data, 16).unwrap())
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        let mut lone = Lone::new(1).unwrap();
        lone.seed(7);
        assert_eq!(lone.mutate(b"some bytes", 16).unwrap(), all(7)[0]);
    }

    #[test]
    fn no_mutant_is_longer_than_asked_for() {
        let mut lone = Lone::new(7).unwrap();
        for max in [0, 1, 5, 20] {
            for data in [&b""[..], b"a", b"longer than it may be"] {
                for _ in 0..200 {
                    assert!(lone.mutate(data, max).unwrap().len() <= max);
                }
            }
        }
    }
}
