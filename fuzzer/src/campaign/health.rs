//! What makes a campaign worse than it could be, and what would help.
//!
//! Decides from what a worker has done: [`ails`] reads one stretch of work, [`Health`] watches an engine
//! stretch by stretch and says each thing once. Changes nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::launcher::screen::counted;
use crate::worker::growth::{Growth, Whose};
use crate::worker::limits::Limits;
use crate::worker::{Tally, Watched};

/// Runs that a judgement is made of; fewer do when they took long.
const STRETCH: u64 = 20_000;
const SHORT_STRETCH: u64 = 500;
const LONG: Duration = Duration::from_secs(10);
/// The least time that says how a child uses the processor, in nanoseconds.
const WATCHED: u64 = 1_000_000_000;

/// What can ail a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ail {
    /// Children have work, and neither run nor want to.
    Waiting,
    /// Children want to run, and the machine has no processor for them.
    Crowded,
    /// Inputs are run again more than new ones are.
    Rerunning,
    /// Edges come and go.
    Unstable,
    /// Entries owe what they touch to the inputs before them.
    Drifting,
    /// Inputs end the child.
    Crashing,
    /// Inputs raise what nobody expects.
    Raising,
    /// Inputs are turned away.
    Rejecting,
    /// Memory grows with every run.
    Leaking,
}

/// What ails a campaign, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Tells it from others.
    pub ail: Ail,
    /// A few words for the status line.
    pub short: String,
    /// A sentence, and what to do.
    pub text: String,
}

fn warning(ail: Ail, short: String, text: String) -> Warning {
    Warning { ail, short, text }
}

fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// What an engine knows of its corpus.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Entries.
    pub kept: usize,
    /// Percent of edges that behave.
    pub stability: f64,
    /// Entries that lost something in a fresh child, of so many that were run in one.
    pub drifting: (usize, usize),
    /// How a child's memory grows.
    pub growth: Option<Growth>,
}

/// Single runs that a new entry is worth: it is trimmed, and run again to see what varies.
const RUNS_PER_ENTRY: u64 = 64;

/// What ails a stretch of work in which so many entries were `kept`, by what became of its inputs.
pub fn ails(tally: &Tally, kept: u64) -> Vec<Warning> {
    let mut ails = Vec::new();
    let runs = tally.runs + tally.alone;
    let repeated = percent(tally.alone.saturating_sub(kept.saturating_mul(RUNS_PER_ENTRY)), runs);
    if repeated > 50.0 {
        ails.push(warning(
            Ail::Rerunning,
            format!("repeating {repeated:.0} %"),
            format!(
                "{repeated:.0} % of runs repeat an input to make sure of what it did, and do not try a new one: what \
                 one input leaves behind looks like news in the next; reset the library's state in the harness, or \
                 give each input a process of its own with --isolation exec"
            ),
        ));
    }
    let died = percent(tally.died, tally.runs);
    if died > 10.0 {
        ails.push(warning(
            Ail::Crashing,
            format!("crashing {died:.0} %"),
            format!(
                "{died:.0} % of inputs end the child, and each costs a fork: mend the bug that is hit most, or have \
                 the harness return early for inputs that reach it"
            ),
        ));
    }
    let raised = percent(tally.raised, tally.runs);
    if raised > 50.0 {
        ails.push(warning(
            Ail::Raising,
            format!("raising {raised:.0} %"),
            format!(
                "the harness raises on {raised:.0} % of inputs, and each is a finding that has to be told from \
                 others: name the exceptions that the library documents in expected="
            ),
        ));
    }
    let rejected = percent(tally.rejected, tally.runs);
    if rejected > 98.0 {
        ails.push(warning(
            Ail::Rejecting,
            format!("rejecting {rejected:.0} %"),
            format!(
                "the target rejects {rejected:.0} % of inputs: give it seeds that it accepts (-i) and the words of \
                 its language (-x); if it checks a sum first, have the harness put it right"
            ),
        ));
    }
    ails
}

/// What ails a target that does not do the same for the same input.
pub fn ails_of_state(state: &State) -> Vec<Warning> {
    let stability = state.stability;
    let mut ails = Vec::new();
    if stability < 90.0 {
        ails.push(warning(
            Ail::Unstable,
            format!("unstable ({stability:.0} % of edges behave)"),
            "edges come and go for the same input: the target depends on chance, on time, on threads or on earlier \
             inputs; seed its generators and reset its state in the harness, and set its threads to 1"
                .into(),
        ));
    }
    let (lost, looked) = (state.drifting.0 as u64, state.drifting.1 as u64);
    let drifting = percent(lost, looked);
    if looked >= 4 && drifting > 10.0 {
        ails.push(warning(
            Ail::Drifting,
            format!("drifting ({drifting:.0} % of entries)"),
            format!(
                "{drifting:.0} % of the entries that were run in a fresh child lacked edges there that they had when \
                 they were kept: what earlier inputs left behind decides; reset the library's state in the harness, \
                 or have children live for less long with --child-runs N"
            ),
        ));
    }
    ails
}

/// What ails a stretch of work, by how children used the processor.
pub fn ails_of_time(watched: &Watched) -> Vec<Warning> {
    let queued = percent(watched.queued, watched.busy);
    // Of the time that the child has for itself: on a machine that is full, one that sleeps waits twice.
    let own = watched.busy.saturating_sub(watched.queued);
    let idle = percent(own.saturating_sub(watched.cpu), own);
    let mut ails = Vec::new();
    if queued > 40.0 {
        ails.push(warning(
            Ail::Crowded,
            format!("no processor {queued:.0} %"),
            format!(
                "for {queued:.0} % of its time the target waits for a processor: more is running than the machine \
                 has cores for; lower -j, or stop something"
            ),
        ));
    }
    if idle > 50.0 {
        ails.push(warning(
            Ail::Waiting,
            format!("waiting {idle:.0} %"),
            format!(
                "for {idle:.0} % of its time the target runs nothing: it sleeps, or waits for a file, a socket, a \
                 lock or another process; take that out of the harness. Until then more engines than cores (-j) use \
                 the time"
            ),
        ));
    }
    ails
}

/// What ails a child that grows.
pub fn ail_of_growth(growth: &Growth, limits: &Limits) -> Option<Warning> {
    if !growth.is_leak {
        return None;
    }
    let size = bytes(growth.resident);
    let whose = match growth.whose() {
        Whose::Heap => "the C heap (malloc, new), so a library does not free it",
        Whose::Python => "Python's own allocator, so Python objects are kept",
        Whose::Unknown => "neither the C heap nor Python's allocator, so it was mapped otherwise",
    };
    let grown = match limits.memory_mb {
        0 => String::new(),
        mb => format!(", or when it has grown by {} MiB", mb / 2),
    };
    Some(warning(
        Ail::Leaking,
        format!("leaking {size} a run"),
        format!(
            "each run leaves {size} of memory behind, from {whose}; a child is replaced after {}{grown}, so the \
             campaign goes on, but mend it if it is yours; --child-runs N replaces it sooner",
            counted(limits.runs_per_child as usize, "run")
        ),
    ))
}

fn bytes(number: f64) -> String {
    match number {
        n if n < 1024.0 => format!("{n:.0} bytes"),
        n if n < 1024.0 * 1024.0 => format!("{:.1} KiB", n / 1024.0),
        n => format!("{:.1} MiB", n / 1024.0 / 1024.0),
    }
}

/// Watches one engine.
pub struct Health {
    limits: Limits,
    /// What had been done when the present stretch began.
    counted: (Tally, u64, usize),
    began: Instant,
    watched: Tally,
    by_outcome: Vec<Warning>,
    by_time: Vec<Warning>,
    by_state: Vec<Warning>,
    by_growth: Option<Warning>,
    told: HashSet<Ail>,
}

impl Health {
    /// Of an engine whose children live under `limits`.
    pub fn new(limits: Limits) -> Health {
        Health {
            limits,
            counted: (Tally::default(), 0, 0),
            began: Instant::now(),
            watched: Tally::default(),
            by_outcome: Vec::new(),
            by_time: Vec::new(),
            by_state: Vec::new(),
            by_growth: None,
            told: HashSet::new(),
        }
    }

    /// Looks at an engine; gives what it has not said before. `execs` are those of this session.
    pub fn look(&mut self, tally: &Tally, execs: u64, state: &State) -> Vec<Warning> {
        let (before, execs_before, kept_before) = &self.counted;
        let new = execs.saturating_sub(*execs_before);
        if new >= STRETCH || new >= SHORT_STRETCH && self.began.elapsed() >= LONG {
            self.by_outcome = ails(&tally.since(before), state.kept.saturating_sub(*kept_before) as u64);
            (self.counted, self.began) = ((*tally, execs, state.kept), Instant::now());
            self.by_state = ails_of_state(state);
        }
        let watched = tally.since(&self.watched).watched;
        if watched.busy >= WATCHED {
            self.by_time = ails_of_time(&watched);
            self.watched = *tally;
        }
        self.by_growth = state.growth.and_then(|growth| ail_of_growth(&growth, &self.limits));
        let mut now = self.ails();
        now.retain(|warning| self.told.insert(warning.ail));
        now
    }

    /// What ails it now.
    pub fn ails(&self) -> Vec<Warning> {
        self.by_outcome.iter().chain(&self.by_state).chain(&self.by_time).chain(&self.by_growth).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tally: Tally, kept: u64) -> Vec<Ail> {
        ails(&tally, kept).iter().map(|w| w.ail).collect()
    }

    #[test]
    fn outcomes_say_what_ails_a_campaign() {
        let done = Tally { runs: 1000, alone: 10, ..Tally::default() };
        assert_eq!(check(done, 0), []);
        assert_eq!(check(Tally { alone: 5000, ..done }, 0), [Ail::Rerunning]);
        assert_eq!(check(Tally { alone: 5000, ..done }, 90), [], "new entries are worth it");
        assert_eq!(check(Tally { died: 200, ..done }, 0), [Ail::Crashing]);
        assert_eq!(check(Tally { raised: 800, ..done }, 0), [Ail::Raising]);
        assert_eq!(check(Tally { rejected: 990, ..done }, 0), [Ail::Rejecting]);
        assert_eq!(check(Tally { rejected: 900, ..done }, 0), [], "parsers turn most inputs away");
    }

    #[test]
    fn chance_and_memory_are_told_apart() {
        let check = |stability, drifting| {
            let state = State { stability, drifting, ..State::default() };
            ails_of_state(&state).iter().map(|w| w.ail).collect::<Vec<Ail>>()
        };
        assert_eq!(check(100.0, (0, 100)), []);
        assert_eq!(check(80.0, (0, 100)), [Ail::Unstable]);
        assert_eq!(check(100.0, (30, 100)), [Ail::Drifting]);
        assert_eq!(check(100.0, (1, 2)), [], "too few to tell");
    }

    fn check_time(cpu: u64, queued: u64) -> Vec<Ail> {
        let watched = Watched { busy: 1_000_000_000, cpu: cpu * 10_000_000, queued: queued * 10_000_000 };
        ails_of_time(&watched).iter().map(|w| w.ail).collect()
    }

    #[test]
    fn sleeping_and_standing_in_line_are_told_apart() {
        assert_eq!(check_time(95, 3), []);
        assert_eq!(check_time(10, 5), [Ail::Waiting]);
        assert_eq!(check_time(40, 58), [Ail::Crowded]);
        assert_eq!(check_time(1, 90), [Ail::Crowded, Ail::Waiting]);
        assert_eq!(check_time(700, 0), [], "threads of its own use other processors");
    }

    #[test]
    fn each_thing_is_said_once_and_shown_for_as_long_as_it_lasts() {
        let mut health = Health::new(Limits::default());
        let fine = State { stability: 100.0, ..State::default() };
        let at = |runs: u64, rejected: u64| Tally { runs, rejected, ..Tally::default() };
        assert_eq!(health.look(&at(100, 100), 100, &fine), [], "too few to tell");
        assert_eq!(health.look(&at(20_000, 20_000), 20_000, &fine).len(), 1);
        assert_eq!(health.look(&at(40_000, 40_000), 40_000, &fine), []);
        assert_eq!(health.ails().len(), 1);
        assert_eq!(health.look(&at(60_000, 40_000), 60_000, &fine), []);
        assert_eq!(health.ails(), []);
        assert_eq!(health.look(&at(80_000, 60_000), 80_000, &fine), [], "it was said");
        assert_eq!(health.ails().len(), 1);
    }

    #[test]
    fn a_leak_is_told_with_its_size_and_its_owner() {
        let growth = Growth { resident: 1228.8, heap: 1200.0, blocks: 0.0, is_leak: true };
        let told = ail_of_growth(&growth, &Limits::default()).unwrap();
        assert_eq!(told.short, "leaking 1.2 KiB a run");
        assert!(told.text.contains("C heap") && told.text.contains("1,000,000 runs") && told.text.contains("1024 MiB"));
        assert_eq!(ail_of_growth(&Growth { is_leak: false, ..growth }, &Limits::default()), None);
    }
}
