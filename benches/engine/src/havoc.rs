//! Mutation by chance: hitmap's, and LibAFL's havoc with its default stacks.

use std::time::Instant;

use hitmap_fuzzer::engine::havoc::Havoc;
use hitmap_fuzzer::engine::rand::Xoshiro;
use hitmap_fuzzer::engine::{State, state};
use libafl::Error;
use libafl::corpus::{Corpus, Testcase};
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::mutators::{HavocScheduledMutator, Mutator, Tokens, havoc_mutations};
use libafl::state::{HasCorpus, HasRand};
use libafl_bolts::rands::Rand;

use crate::Way;

/// Entries that the mutants whose making is timed are made of.
const ENTRIES: usize = 64;
const ROUNDS: usize = 1000;
/// What the compares are with.
const WORD: &[u8] = b"hitmap";
/// Nobody needs more mutants than that.
const MOST: u64 = 1 << 28;

type Mutate = Box<dyn FnMut(&mut State, &mut BytesInput) -> Result<(), Error>>;

fn mutate(way: Way, state: &mut State) -> Mutate {
    match way {
        Way::Hitmap => {
            let mut havoc = Havoc::new(state, Tokens::new(), false);
            Box::new(move |state, input| havoc.mutate(state, input))
        }
        Way::Stock => {
            let mut havoc = HavocScheduledMutator::new(havoc_mutations());
            Box::new(move |state, input| havoc.mutate(state, input).map(|_| ()))
        }
    }
}

/// What a mutant takes, of entries of 64 bytes on average.
pub fn nanoseconds(way: Way, seed: u64) -> Result<u64, Error> {
    let mut state = state(Xoshiro::new(seed), &mut (), 4096)?;
    for _ in 0..ENTRIES {
        let len = 1 + state.rand_mut().below_or_zero(127);
        let bytes = (0..len).map(|_| state.rand_mut().next() as u8).collect();
        state.corpus_mut().add(Testcase::new(BytesInput::new(bytes)))?;
    }
    let mut mutate = mutate(way, &mut state);
    let ids: Vec<_> = state.corpus().ids().collect();
    let mut each = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut mutants = Vec::with_capacity(ENTRIES);
        for id in &ids {
            mutants.push(state.corpus().cloned_input_for_id(*id)?);
        }
        let began = Instant::now();
        for (id, mutant) in ids.iter().zip(&mut mutants) {
            *state.corpus_mut().current_mut() = Some(*id);
            mutate(&mut state, mutant)?;
        }
        each.push(began.elapsed().as_nanos() as u64 / ENTRIES as u64);
    }
    each.sort_unstable();
    Ok(each[ROUNDS / 2])
}

/// How many mutants it takes until one passes all compares. One that passes more than any before is kept, and parents
/// are drawn evenly from what was kept.
pub fn mutants(way: Way, seed: u64) -> Result<u64, Error> {
    let mut state = state(Xoshiro::new(seed), &mut (), 4096)?;
    state.corpus_mut().add(Testcase::new(BytesInput::new(b"one or two words".to_vec())))?;
    let mut mutate = mutate(way, &mut state);
    let mut deepest = 0;
    for made in 1..MOST {
        let count = state.corpus().count();
        let nth = state.rand_mut().below_or_zero(count);
        let id = state.corpus().nth(nth);
        *state.corpus_mut().current_mut() = Some(id);
        let mut mutant = state.corpus().cloned_input_for_id(id)?;
        mutate(&mut state, &mut mutant)?;
        let depth = mutant.mutator_bytes().iter().zip(WORD).take_while(|(a, b)| a == b).count();
        if depth == WORD.len() {
            return Ok(made);
        }
        if depth > deepest {
            deepest = depth;
            state.corpus_mut().add(Testcase::new(mutant))?;
        }
    }
    Ok(MOST)
}
