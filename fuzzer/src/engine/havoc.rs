//! Mutation by chance: LibAFL's havoc, crossover with other entries among it, and tokens.

use libafl::inputs::BytesInput;
use libafl::mutators::{HavocScheduledMutator, MutationResult, Mutator, Tokens, havoc_mutations, tokens_mutations};
use libafl::{Error, HasMetadata};
use libafl_bolts::tuples::Merge;

use super::State;

/// Mutations that are stacked at the most, as a power of two. LibAFL's default of 7 costs four times
/// as much a mutant and finds less: deep stacks destroy what the shallow ones would have got right.
/// Six nested compares behind a mock took a median of 182,000 mutants with 2, 462,000 with 4.
const STACK_POWER: usize = 2;

/// Tokens that are gathered at the most, beyond those of the user: the more there are, the longer it
/// takes until one has been tried everywhere.
const GATHERED: usize = 256;

/// The mutator. Its tokens lie in the state, where LibAFL's token mutators look for them.
pub struct Havoc {
    mutator: Box<dyn Mutator<BytesInput, State>>,
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
        let mut havoc = Havoc { mutator: without_tokens(), has_tokens: false, given: tokens.len(), gathered: 0, room };
        if !tokens.is_empty() {
            state.add_metadata(tokens);
            (havoc.mutator, havoc.has_tokens) = (with_tokens(), true);
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
            (self.mutator, self.has_tokens) = (with_tokens(), true);
        }
    }

    /// Tokens in use.
    pub fn tokens(&self) -> usize {
        self.given + self.gathered
    }

    /// Changes an input.
    ///
    /// # Errors
    /// Those of LibAFL's mutators.
    pub fn mutate(&mut self, state: &mut State, input: &mut BytesInput) -> Result<MutationResult, Error> {
        self.mutator.mutate(state, input)
    }
}

fn without_tokens() -> Box<dyn Mutator<BytesInput, State>> {
    Box::new(HavocScheduledMutator::with_max_stack_pow(havoc_mutations(), STACK_POWER))
}

fn with_tokens() -> Box<dyn Mutator<BytesInput, State>> {
    let mutations = havoc_mutations().merge(tokens_mutations());
    Box::new(HavocScheduledMutator::with_max_stack_pow(mutations, STACK_POWER))
}
