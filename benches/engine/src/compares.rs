//! Putting into the input what it was compared with: hitmap's colouring and replacements, and LibAFL's
//! `I2SRandReplace`. Its `AflppRedQueen` is not here: it reads AFL++'s own log and nothing else.
//!
//! The target reads four numbers one after the other, each only when the one before is right, and compares every byte
//! with a few characters, as a parser does. Both are told the same comparisons.

use hitmap_fuzzer::engine::comparisons::colour::colour;
use hitmap_fuzzer::engine::comparisons::replace::{Run, patches};
use hitmap_fuzzer::engine::rand::Xoshiro;
use hitmap_fuzzer::engine::state;
use hitmap_wire::comparisons::{Comparison, INTEGER, OPERAND, RIGHT_CONSTANT};
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::mutators::{I2SRandReplace, Mutator};
use libafl::observers::cmp::{CmpValues, CmpValuesMetadata};
use libafl::{Error, HasMetadata};
use libafl_bolts::rands::Rand;

use crate::Way;

const LEN: usize = 64;
const NUMBERS: [(usize, u32); 4] = [(8, 0xFEED_BEEF), (24, 0x0BAD_CAFE), (36, 0x600D_F00D), (52, 0xD15E_A5E5)];
const CHARACTERS: &[u8] = b"{[\",: ";
/// Runs that colouring may take, as in a campaign.
const COLOURING: usize = 256;
/// Nobody needs more runs than that.
const MOST: u64 = 1 << 26;

/// How many numbers are right.
fn depth(input: &[u8]) -> usize {
    NUMBERS.iter().take_while(|(at, number)| input[*at..*at + 4] == number.to_le_bytes()).count()
}

fn compared(input: &[u8]) -> Vec<Comparison> {
    let mut log = Vec::new();
    for byte in input {
        log.extend((0..).zip(CHARACTERS).map(|(site, other)| comparison(site, &[*byte], &[*other])));
    }
    for (site, (at, number)) in (100..).zip(&NUMBERS[..NUMBERS.len().min(depth(input) + 1)]) {
        log.push(comparison(site, &input[*at..*at + 4], &number.to_le_bytes()));
    }
    log
}

fn comparison(site: u64, left: &[u8], right: &[u8]) -> Comparison {
    let padded = |bytes: &[u8]| {
        let mut all = [0; OPERAND];
        all[..bytes.len()].copy_from_slice(bytes);
        all
    };
    Comparison {
        site,
        kind: INTEGER,
        constant: RIGHT_CONSTANT,
        left_len: left.len() as u8,
        right_len: right.len() as u8,
        reserved: 0,
        left: padded(left),
        right: padded(right),
    }
}

/// How many runs it takes until all numbers are right. Who comes deeper is the parent from then on.
pub fn runs(way: Way, seed: u64) -> Result<u64, Error> {
    let mut rand = Xoshiro::new(seed);
    let mut input: Vec<u8> = (0..LEN).map(|_| b'a' + rand.below_or_zero(26) as u8).collect();
    let mut runs = 0;
    while depth(&input) < NUMBERS.len() && runs < MOST {
        input = match way {
            Way::Hitmap => by_patches(&input, &mut rand, &mut runs)?,
            Way::Stock => by_chance(&input, rand.next(), &mut runs)?,
        };
    }
    Ok(runs)
}

fn by_patches(input: &[u8], rand: &mut Xoshiro, runs: &mut u64) -> Result<Vec<u8>, Error> {
    let deep = depth(input);
    let coloured = colour(input, COLOURING, rand, |changed| {
        *runs += 1;
        Ok(depth(changed) == deep)
    })?;
    *runs += 2;
    let logs = (compared(input), compared(&coloured));
    let plain = Run { input, log: &logs.0 };
    for patch in patches(plain, Run { input: &coloured, log: &logs.1 }) {
        *runs += 1;
        let mutant = patch.parts(input).concat();
        if mutant.len() == LEN && depth(&mutant) > deep {
            return Ok(mutant);
        }
    }
    Err(Error::illegal_state("no replacement came further"))
}

fn by_chance(input: &[u8], seed: u64, runs: &mut u64) -> Result<Vec<u8>, Error> {
    let mut state = state(Xoshiro::new(seed), &mut (), LEN)?;
    let mut told = CmpValuesMetadata::new();
    *runs += 1;
    told.list = compared(input).iter().map(as_libafl_has_it).collect();
    state.add_metadata(told);
    let mut mutator = I2SRandReplace::new();
    loop {
        *runs += 1;
        let mut mutant = BytesInput::new(input.to_vec());
        mutator.mutate(&mut state, &mut mutant)?;
        if depth(mutant.mutator_bytes()) > depth(input) || *runs >= MOST {
            return Ok(mutant.into());
        }
    }
}

fn as_libafl_has_it(comparison: &Comparison) -> CmpValues {
    let number = |side: &[u8; OPERAND]| u32::from_le_bytes([side[0], side[1], side[2], side[3]]);
    match comparison.left_len {
        1 => CmpValues::U8((comparison.left[0], comparison.right[0], false)),
        _ => CmpValues::U32((number(&comparison.left), number(&comparison.right), false)),
    }
}
