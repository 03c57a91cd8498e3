//! A worker without a process, for tests of the engine's decisions: a closure says what an input does.

use hitmap_observers::observer::Hit;
use hitmap_wire::batch::notes::{Death, How, Stack};
use hitmap_wire::comparisons::{Comparison, INTEGER, OPERAND};
use hitmap_wire::identity::Identity;
use hitmap_wire::modules::{FLAGS, Module};
use hitmap_wire::outcome::Outcome;

use super::{Evidence, Made, Makers, Observation, Seen, Tally, Trace, Tracer, Wish, Worker, WorkerError};

/// What an input does: the edges it touches, and what becomes of it.
pub type Does = (Vec<Hit>, Outcome);

/// Runs a closure as the target.
pub struct MockWorker<F> {
    target: F,
    modules: Vec<Module>,
    /// How many inputs one call of `run` takes, in turn: a stand-in for time.
    takes: Vec<usize>,
    calls: usize,
    /// The functions that the harness brings.
    pub makers: Makers,
    /// What they do.
    pub making: Box<dyn FnMut(&Wish<'_>) -> Made>,
    seen: std::collections::HashMap<u32, u8>,
    tally: Tally,
}

impl<F: FnMut(&[u8]) -> Does> MockWorker<F> {
    /// A target with 1,000 edges, 4096 to 5095; `run` takes as many inputs a call as `takes` says.
    pub fn new(target: F, takes: Vec<usize>) -> MockWorker<F> {
        let module = Module {
            identity: Identity::new(b"mock"),
            path: "/mock.so".into(),
            kind: FLAGS,
            base: 4096,
            edges: 1000,
            load_bias: 0x1000,
            pc_table: 0,
        };
        let making = Box::new(|_: &Wish<'_>| Made::Undecodable);
        let makers = Makers::default();
        let (seen, tally) = (std::collections::HashMap::new(), Tally::default());
        MockWorker { target, modules: vec![module], takes, calls: 0, makers, making, seen, tally }
    }
}

/// A death note with these flags, and nothing else in it.
pub fn death(flags: u32) -> Death {
    let (thrown, text, stack) = (String::new(), String::new(), Stack::default());
    Death { how: How::Signal, signal: 0, code: 0, flags, address: 0, sender: 0, thread: 0, stack, thrown, text }
}

fn evidence(outcome: Outcome, hits: &[Hit]) -> Box<Evidence> {
    let raw = hits.iter().map(|(edge, _)| u64::from(*edge)).sum::<u64>() << 8 | outcome as u64;
    Box::new(Evidence { signal: Some(6), ..Evidence::bare(outcome, raw) })
}

impl<F: FnMut(&[u8]) -> Does> Worker for MockWorker<F> {
    fn run(&mut self, inputs: &[&[u8]], seen: &mut Vec<Seen>) -> Result<(), WorkerError> {
        seen.clear();
        let take = self.takes[self.calls % self.takes.len()].clamp(1, inputs.len());
        self.calls += 1;
        for input in &inputs[..take] {
            let (hits, outcome) = (self.target)(input);
            self.tally.runs += 1;
            self.tally.rejected += u64::from(outcome == Outcome::Rejected);
            if outcome.is_finding() {
                seen.push(Seen::Finding(evidence(outcome, &hits)));
                if matches!(outcome, Outcome::Signal | Outcome::Timeout) {
                    break;
                }
                continue;
            }
            let is_new = |(edge, class): &&Hit| self.seen.get(edge).is_none_or(|old| class > old);
            let new: Vec<&Hit> = hits.iter().filter(is_new).collect();
            let set = new
                .iter()
                .fold(1, |set: u64, (edge, class)| set.wrapping_mul(31) ^ u64::from(*edge) << 8 ^ u64::from(*class));
            seen.push(new.first().map_or(Seen::Boring, |hit| Seen::Novel { hit: **hit, set }));
        }
        Ok(())
    }

    fn observe(&mut self, input: &[u8], _: bool, hits: &mut Vec<Hit>) -> Result<Observation, WorkerError> {
        let (touched, outcome) = (self.target)(input);
        if !outcome.is_finding() {
            for (edge, class) in &touched {
                let old = self.seen.entry(*edge).or_insert(0);
                *old = (*old).max(*class);
            }
        }
        *hits = touched;
        let evidence = outcome.is_finding().then(|| evidence(outcome, hits));
        Ok(Observation { outcome, nanos: 1000, evidence })
    }

    fn makers(&self) -> Makers {
        self.makers
    }

    fn make(&mut self, wishes: &[Wish<'_>], _: usize, made: &mut Vec<Made>) -> Result<(), WorkerError> {
        let take = self.takes[self.calls % self.takes.len()].clamp(1, wishes.len());
        self.calls += 1;
        made.clear();
        made.extend(wishes[..take].iter().map(&mut self.making));
        Ok(())
    }

    fn modules(&self) -> &[Module] {
        &self.modules
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

/// A comparison of which the compiler knew nothing.
pub fn compared(site: u64, kind: u8, left: &[u8], right: &[u8]) -> Comparison {
    let padded = |bytes: &[u8]| {
        let mut all = [0; OPERAND];
        all[..bytes.len()].copy_from_slice(bytes);
        all
    };
    let (left_len, right_len) = (left.len() as u8, right.len() as u8);
    let (left, right) = (padded(left), padded(right));
    Comparison { site, kind, constant: 0, left_len, right_len, reserved: 0, left, right }
}

/// The 32-bit compare of two numbers.
pub fn compared_numbers(site: u64, left: u32, right: u32) -> Comparison {
    compared(site, INTEGER, &left.to_le_bytes(), &right.to_le_bytes())
}

/// Runs a closure as the comparison build; it says how deep an input comes, what becomes of it and what was
/// compared.
pub struct MockTracer<F>(pub F);

impl<F: FnMut(&[u8]) -> (u64, Outcome, Vec<Comparison>)> Tracer for MockTracer<F> {
    fn trace(&mut self, input: &[u8], _: bool) -> Result<Trace, WorkerError> {
        let (path, outcome, log) = (self.0)(input);
        Ok(Trace { outcome, path, log })
    }
}
