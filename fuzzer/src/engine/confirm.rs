//! A finding is run again in a fresh child before it is told.
//!
//! Decides what counts as the same event seen again. The evidence of the batch is kept whatever the fresh child
//! shows: it may never come back.

use libafl::Error;
use libafl::inputs::{BytesInput, HasMutatorBytes};
use libafl::state::HasExecutions;

use super::stage::{Acts, BatchStage, Evaluated, Found, Parts};
use crate::worker::{Evidence, Seen};
use hitmap_wire::outcome::Outcome;

/// Fresh children that one input gets when somebody else ends them. An input that is killed in all of them kills
/// itself, or uses so much of the machine that the kernel ends it.
const TRIES: usize = 3;

impl<A: Acts> BatchStage<A> {
    /// Runs a finding again in a fresh child, and keeps what both saw.
    pub(super) fn confirm(&mut self, parts: &mut Parts<'_>, input: &BytesInput, first: &Evidence) -> Result<(), Error> {
        let (evaluated, killed) = match run_again(parts, input) {
            Ok(ran) => ran,
            Err(error) => {
                self.rescue_one(parts, input, first)?;
                return Err(error);
            }
        };
        let again = evaluated.observation.evidence.as_deref();
        // Killed each time, it is the input that does it.
        let by_itself = first.is_from_outside() && again.is_some_and(Evidence::is_from_outside);
        let counts = |evidence: &&Evidence| by_itself || !evidence.is_from_outside();
        if (killed || first.is_from_outside()) && !by_itself {
            self.acts.was_killed();
        }
        let (first, again) = (Some(first).filter(counts), again.filter(counts));
        if first.is_some() || again.is_some() {
            self.found(parts, input, first, again)?;
            for evidence in first.iter().chain(&again) {
                self.knows_hangs |= evidence.outcome == Outcome::Timeout;
                parts.executor.worker().learn(evidence);
            }
        }
        self.keep(parts, input, &evaluated).map(|_| ())
    }

    fn found(
        &mut self,
        parts: &mut Parts<'_>,
        input: &BytesInput,
        first: Option<&Evidence>,
        again: Option<&Evidence>,
    ) -> Result<(), Error> {
        let hits = if again.is_some() { parts.executor.touched().hits().to_vec() } else { Vec::new() };
        self.acts.found(Found {
            input: input.mutator_bytes(),
            first,
            again,
            hits: &hits,
            parent: parts.parent(),
            execs: *parts.state.executions(),
            modules: parts.executor.worker().modules(),
        })
    }

    /// Tells the findings of a visit that cannot go on, as they were seen: nothing can be run again.
    pub(super) fn rescue(&mut self, parts: &mut Parts<'_>) -> Result<(), Error> {
        for at in 0..self.seen.len() {
            if let Seen::Finding(first) = std::mem::replace(&mut self.seen[at], Seen::Boring) {
                let input = BytesInput::new(self.mutants.get(at).to_vec());
                self.rescue_one(parts, &input, &first)?;
            }
        }
        while let Some((input, first)) = self.aside.pop() {
            self.rescue_one(parts, &input, &first)?;
        }
        Ok(())
    }

    fn rescue_one(&mut self, parts: &mut Parts<'_>, input: &BytesInput, first: &Evidence) -> Result<(), Error> {
        if !first.is_from_outside() && !self.acts.is_known(first.raw) {
            self.found(parts, input, Some(first), None)?;
        }
        Ok(())
    }
}

/// Runs an input in a fresh child, and in another one when somebody else ended that. Says whether somebody did.
fn run_again(parts: &mut Parts<'_>, input: &BytesInput) -> Result<(Evaluated, bool), Error> {
    let mut kills = 0;
    loop {
        let evaluated = parts.evaluate(input, true)?;
        let was_killed = evaluated.observation.evidence.as_deref().is_some_and(Evidence::is_from_outside);
        kills += usize::from(was_killed);
        if !was_killed || kills == TRIES {
            return Ok((evaluated, kills > 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::comparisons::Replacing;
    use crate::engine::driver::tests::run_to_end;
    use crate::finding::kept::all;
    use crate::worker::mock::{Does, MockWorker, death};
    use crate::worker::{Made, Observation, Raised, Wish, Worker, WorkerError};
    use hitmap_observers::observer::Hit;
    use hitmap_wire::batch::notes::FROM_OUTSIDE;
    use hitmap_wire::modules::Module;

    /// A target whose first mutant is a finding, and that shows one thing after the other in fresh children.
    struct Twice {
        rest: MockWorker<fn(&[u8]) -> Does>,
        first: Option<Evidence>,
        again: Vec<Result<Option<Evidence>, WorkerError>>,
        fresh: usize,
    }

    impl Worker for Twice {
        fn run(&mut self, inputs: &[&[u8]], seen: &mut Vec<Seen>) -> Result<(), WorkerError> {
            self.rest.run(inputs, seen)?;
            if let Some(first) = self.first.take() {
                *seen = vec![Seen::Finding(Box::new(first))];
            }
            Ok(())
        }

        fn observe(&mut self, input: &[u8], fresh: bool, hits: &mut Vec<Hit>) -> Result<Observation, WorkerError> {
            if !fresh || self.first.is_some() {
                return self.rest.observe(input, fresh, hits);
            }
            assert!(self.fresh < TRIES, "a finding is run again a few times at the most");
            let again = &mut self.again[self.fresh];
            self.fresh += 1;
            let evidence = std::mem::replace(again, Ok(None))?.map(Box::new);
            let outcome = evidence.as_ref().map_or(Outcome::Ok, |e| e.outcome);
            Ok(Observation { outcome, nanos: 0, evidence })
        }

        fn make(&mut self, wishes: &[Wish<'_>], most: usize, made: &mut Vec<Made>) -> Result<(), WorkerError> {
            self.rest.make(wishes, most, made)
        }

        fn modules(&self) -> &[Module] {
            self.rest.modules()
        }
    }

    fn crash(signal: i32) -> Option<Evidence> {
        let raw = signal as u64;
        Some(Evidence { signal: Some(signal), death: Some(death(0)), ..Evidence::bare(Outcome::Signal, raw) })
    }

    fn killed() -> Option<Evidence> {
        Some(Evidence { signal: Some(libc::SIGKILL), ..Evidence::bare(Outcome::Signal, 9) })
    }

    fn asked() -> Option<Evidence> {
        let death = Some(death(FROM_OUTSIDE));
        Some(Evidence { signal: Some(libc::SIGTERM), death, ..Evidence::bare(Outcome::Signal, 15) })
    }

    fn hang(raw: u64) -> Option<Evidence> {
        Some(Evidence::bare(Outcome::Timeout, raw))
    }

    fn raised(text: &str) -> Option<Evidence> {
        let exception = (!text.is_empty()).then(|| Raised { text: text.into(), ..Raised::default() });
        let raw = text.len() as u64;
        Some(Evidence { exception, ..Evidence::bare(Outcome::Exception, raw) })
    }

    fn check(first: Option<Evidence>, again: Vec<Option<Evidence>>, expect: &[(&str, &str, bool)]) {
        let again = again.into_iter().map(Ok).chain((0..TRIES).map(|_| Ok(None))).collect();
        assert!(check_all(first, again, expect));
    }

    /// Kind, title and whether it came back of each finding. Says whether the campaign goes on.
    fn check_all(
        first: Option<Evidence>,
        again: Vec<Result<Option<Evidence>, WorkerError>>,
        expect: &[(&str, &str, bool)],
    ) -> bool {
        let out = tempfile::tempdir().unwrap();
        let rest = MockWorker::new((|_| (vec![(4096, 1)], Outcome::Ok)) as fn(&[u8]) -> Does, vec![64]);
        let worker = Twice { rest, first: first.clone(), again, fresh: 0 };
        let (_, ended) = run_to_end(out.path(), Box::new(worker), Replacing::absent(), 100, false);
        let mut found = all(&out.path().join("findings"), "hitmap").unwrap();
        found.sort_by(|a, b| a.title.cmp(&b.title));
        let found: Vec<_> = found.iter().map(|f| (f.kind.as_str(), f.title.as_str(), f.reproduces)).collect();
        assert_eq!(found, expect, "{first:?}");
        ended.is_ok()
    }

    #[test]
    fn two_events_are_two_findings_and_one_is_one() {
        let (abrt, segv) = (("signal", "SIGABRT"), ("signal", "SIGSEGV"));
        let limit = ("timeout", "ran longer than the time limit");
        let of = |(kind, title), reproduces| (kind, title, reproduces);
        check(crash(6), vec![crash(6)], &[of(abrt, true)]);
        check(crash(6), vec![None], &[of(abrt, false)]);
        check(crash(6), vec![crash(11)], &[of(abrt, false), of(segv, true)]);
        check(crash(6), vec![raised("K: v")], &[("exception", "K: v", true), of(abrt, false)]);
        check(raised("K: v"), vec![raised("K: v")], &[("exception", "K: v", true)]);
        check(
            raised("K: v"),
            vec![raised("Other: v")],
            &[("exception", "K: v", false), ("exception", "Other: v", true)],
        );
        check(raised("K: v"), vec![raised("K: other")], &[("exception", "K: other", true)]);
        check(raised(""), vec![raised("K: v")], &[("exception", "K: v", true)]);
        check(raised("K: v"), vec![None], &[("exception", "K: v", false)]);
        check(hang(1), vec![hang(2)], &[of(limit, true)]);
        check(hang(1), vec![None], &[of(limit, false)]);
        check(hang(1), vec![crash(6)], &[of(abrt, true), of(limit, false)]);
    }

    #[test]
    fn who_is_killed_by_others_is_run_again() {
        let (abrt, kill) = (("signal", "SIGABRT"), ("signal", "SIGKILL"));
        let of = |(kind, title), reproduces| (kind, title, reproduces);
        check(killed(), vec![None], &[]);
        check(killed(), vec![killed(), None], &[]);
        check(killed(), vec![killed(), killed(), killed()], &[of(kill, true)]);
        check(killed(), vec![killed(), crash(6)], &[of(abrt, true)]);
        check(crash(6), vec![killed(), crash(6)], &[of(abrt, true)]);
        check(crash(6), vec![asked(), killed(), None], &[of(abrt, false)]);
        check(crash(6), vec![killed(), killed(), killed()], &[of(abrt, false)]);
        check(asked(), vec![asked(), None], &[]);
        check(asked(), vec![asked(), asked(), asked()], &[("signal", "SIGTERM", true)]);
    }

    #[test]
    fn what_was_seen_is_kept_when_nothing_can_be_run_again() {
        let lost = || Err(WorkerError::Broken("is gone".into()));
        assert!(!check_all(crash(6), vec![lost()], &[("signal", "SIGABRT", false)]));
        assert!(!check_all(killed(), vec![Ok(killed()), lost()], &[]));
    }
}
