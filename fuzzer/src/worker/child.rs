//! One child: when it started, and how it is watched while it works.
//!
//! Progress is watched, not the batch: an input is timed out when the child's `cur` stays on it for
//! longer than the limit, however many inputs the batch has. Before it is ended it is looked at ([`super::looks`]),
//! and one that hangs as another did before is ended early.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::files::Files;
use super::limits::{Limits, processor_nanos, resident_kib};
use super::looks::{Looked, Looks};
use super::server::{Ended, Server};
use super::{Watched, WorkerError};
use hitmap_wire::batch::Weight;
use hitmap_wire::batch::notes::Sample;
use hitmap_wire::outcome::Outcome;

/// How long a child that was asked to abort may take to leave its stacks, before it is killed.
const LAST_WORDS: Duration = Duration::from_millis(1000);
/// The same for one whose stacks were seen already.
const LAST_WORDS_OF_SEEN: Duration = Duration::from_millis(250);

/// How often a child is weighed between batches.
const WEIGH_EVERY: Duration = Duration::from_millis(20);

/// The longest time between two looks at a child that has not answered: what it grows by meanwhile is
/// taken from the machine, at some gigabytes a second.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often it is looked up how a child uses the processor: the system tells it in steps of 10 ms.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// A batch that takes longer is ended after the input that runs: the engine has other things to hear.
const LONGEST_BATCH: Duration = Duration::from_millis(100);

/// Looks at a child that is past its time limit, and at one that is past its memory limit and may grow on.
const LOOKS: usize = 8;
const LOOKS_AT_MEMORY: usize = 4;

/// Looks at one that takes long before that, and when: in quarters of the time to the first.
const EARLY_LOOKS: [(usize, u32); 3] = [(2, 4), (2, 5), (1, 8)];

/// What a child is held against while it works.
pub struct Watch<'a> {
    /// How long an input runs before it is looked at; `None` when there is nothing to hold it against.
    pub first_look: Option<Duration>,
    /// Whether a run that ends so, and was seen like this, is known: nothing of it is told again.
    pub is_known: &'a mut dyn FnMut(Outcome, &[Sample]) -> bool,
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// All of it ran.
    Done,
    /// The child died at the input that `cur` names.
    Died(Ended),
    /// The input that `cur` names ran too long; the child is gone.
    TimedOut,
    /// The input that `cur` names wanted too much memory; the child is gone.
    OverMemory,
}

/// A forked child.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    /// Inputs it has run.
    pub runs: u64,
    resident_at_start: u64,
    /// When it was weighed last, between batches.
    resident_before: u64,
    weighed: Instant,
    /// Its own weights, one at each doubling of its runs.
    pub weights: Vec<Weight>,
    /// What was last seen of its use of the processor, and the time since in which it had work.
    processor: (u64, u64),
    busy: Duration,
    /// The samples of the input that ended it.
    pub samples: Vec<Sample>,
    /// It was ended before its limit.
    pub was_cut: bool,
}

/// A child doubles its runs no more often than this; what is beyond was made up.
const MOST_WEIGHTS: usize = 64;

impl Child {
    /// Takes charge of a child that was just forked, whose resident memory is `resident` KiB.
    pub fn new(pid: i32, resident: u64) -> Child {
        Child {
            pid,
            runs: 0,
            resident_at_start: resident,
            resident_before: resident,
            weighed: Instant::now(),
            weights: Vec::new(),
            processor: (0, 0),
            busy: Duration::ZERO,
            samples: Vec::new(),
            was_cut: false,
        }
    }

    /// Wakes the child and waits until it is through, dead, or past a limit.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone.
    pub fn work(
        &mut self,
        files: &Files,
        server: &Server,
        limits: &Limits,
        watch: &mut Watch<'_>,
    ) -> Result<BatchEnd, WorkerError> {
        hitmap_wire::control::wake(files.wake.as_fd()).map_err(WorkerError::system("wake the child"))?;
        let tick = (limits.timeout / 8).clamp(Duration::from_millis(2), LOOK_EVERY);
        let (mut at, mut spent, mut looks) = (u32::MAX, Duration::ZERO, None);
        let began = Instant::now();
        let mut looked = began;
        let header = files.batch.header();
        loop {
            match wait_either(files, server, tick) {
                Woken::Done => {
                    hitmap_wire::control::wait(files.done.as_fd()).map_err(WorkerError::system("done event"))?;
                    self.busy += began.elapsed();
                    let weight = files.batch.take_weight().filter(|_| self.weights.len() < MOST_WEIGHTS);
                    self.weights.extend(weight);
                    return Ok(BatchEnd::Done);
                }
                Woken::Control => {
                    return match server.wait_exited(Duration::ZERO) {
                        Ok(Some(ended)) => Ok(BatchEnd::Died(ended)),
                        Ok(None) => Err(WorkerError::Broken("spoke out of turn".into())),
                        Err(_) => Ok(BatchEnd::Died(Ended::WithServer)),
                    };
                }
                Woken::Nobody => {}
            }
            files.bound_log();
            if began.elapsed() > LONGEST_BATCH {
                header.enough.store(1, Ordering::Relaxed);
            }
            let cur = header.cur.load(Ordering::Acquire);
            if self.is_over_memory(limits) {
                // What it runs from now on is not looked at.
                header.enough.store(1, Ordering::Relaxed);
                let mut looks = looks.filter(|_| cur == at).unwrap_or_else(|| Looks::new(files));
                looks.take(LOOKS_AT_MEMORY, self.pid, files, server)?;
                self.end(cur, Outcome::OutOfMemory, &looks, files, server, watch)?;
                return Ok(BatchEnd::OverMemory);
            }
            // A look that comes late says that the machine was held up, and the child most likely with it.
            let now = Instant::now();
            let passed = now.duration_since(looked).min(2 * tick);
            looked = now;
            if cur != at {
                (at, spent, looks) = (cur, Duration::ZERO, None);
                continue;
            }
            spent += passed;
            let early = looks.as_ref().map_or(0, |looks: &Looks| looks.taken);
            if spent >= limits.timeout {
                header.enough.store(1, Ordering::Relaxed);
                let looks = looks.get_or_insert_with(|| Looks::new(files));
                let looked = looks.take(LOOKS, self.pid, files, server)?;
                // A look wakes a target that sleeps, which then comes to its end: too late.
                let woke = matches!(wait_either(files, server, Duration::ZERO), Woken::Done);
                if looked == Looked::Working || woke {
                    self.end(cur, Outcome::Timeout, looks, files, server, watch)?;
                    if woke {
                        keep_first(&mut self.samples);
                    }
                    return Ok(BatchEnd::TimedOut);
                }
            } else if let Some((count, quarters)) = EARLY_LOOKS.get(early)
                && watch.first_look.is_some_and(|first| spent >= first * *quarters / 4)
            {
                header.enough.store(1, Ordering::Relaxed);
                let looks = looks.get_or_insert_with(|| Looks::new(files));
                let looked = looks.take(*count, self.pid, files, server)?;
                // One that slept and was woken by the first look is seen no second time.
                let was_woken =
                    looked == Looked::Spoke && matches!(wait_either(files, server, Duration::ZERO), Woken::Done);
                if (looks.taken > 1 || was_woken) && (watch.is_known)(Outcome::Timeout, &looks.samples(files)) {
                    self.was_cut = true;
                    self.end(cur, Outcome::Timeout, looks, files, server, watch)?;
                    return Ok(BatchEnd::TimedOut);
                }
            }
        }
    }

    /// Whether the child has grown past its limit since it was weighed last, before this batch: what
    /// earlier inputs left is no fault of this one.
    fn is_over_memory(&self, limits: &Limits) -> bool {
        limits.memory_mb > 0
            && resident_kib(self.pid).is_some_and(|now| now > self.resident_before + limits.memory_mb * 1024)
    }

    /// Whether the child has leaked so much, over all of its inputs, that it should be replaced.
    /// Looked up between batches, now and then: a look costs as much as a wake-up.
    pub fn has_grown(&mut self, limits: &Limits) -> bool {
        if self.weighed.elapsed() < WEIGH_EVERY {
            return false;
        }
        self.weighed = Instant::now();
        self.resident_before = resident_kib(self.pid).unwrap_or(self.resident_before);
        limits.memory_mb > 0 && self.resident_before > self.resident_at_start + limits.memory_mb * 1024 / 2
    }

    /// How it used the processor since this was asked last; `None` until there is enough to tell.
    pub fn watch(&mut self) -> Option<Watched> {
        if self.busy < WATCH_EVERY {
            return None;
        }
        let now = processor_nanos(self.pid)?;
        let busy = std::mem::take(&mut self.busy).as_nanos() as u64;
        let (cpu, queued) = (now.0.saturating_sub(self.processor.0), now.1.saturating_sub(self.processor.1));
        self.processor = now;
        Some(Watched { busy, cpu, queued })
    }

    /// Ends the child for what it does in slot `at`: first so that it leaves its stacks, then for sure. One that is
    /// known by its samples has nothing more to say.
    fn end(
        &mut self,
        at: u32,
        outcome: Outcome,
        looks: &Looks,
        files: &Files,
        server: &Server,
        watch: &mut Watch<'_>,
    ) -> Result<(), WorkerError> {
        self.samples = looks.samples(files);
        let mut is_gone = false;
        if !(watch.is_known)(outcome, &self.samples) {
            server.kill(libc::SIGABRT)?;
            // A target that stopped itself hears nothing before it goes on.
            server.kill(libc::SIGCONT)?;
            let patience = if self.samples.is_empty() { LAST_WORDS } else { LAST_WORDS_OF_SEEN };
            is_gone = server.wait_exited(patience)?.is_some();
        }
        if !is_gone {
            self.kill(server)?;
        }
        // It may have come to the end of its input meanwhile, which was too late.
        files.batch.header().cur.store(at, Ordering::Relaxed);
        files.batch.header().nanos.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Kills the child at once.
    ///
    /// # Errors
    /// [`WorkerError::Broken`] when the server is gone or the child survives.
    pub fn kill(&self, server: &Server) -> Result<Ended, WorkerError> {
        server.kill(libc::SIGKILL)?;
        server
            .wait_exited(Duration::from_secs(30))?
            .ok_or_else(|| WorkerError::Broken("has a child that survives SIGKILL".into()))
    }
}

/// Of looks that woke a sleeper the first one counts, and the Python code that the sleep came back to: the later ones
/// are of what came afterwards.
fn keep_first(samples: &mut Vec<Sample>) {
    let python = samples.iter().map(|sample| &sample.python).find(|python| !python.is_empty()).cloned();
    samples.truncate(1);
    if let (Some(first), Some(python)) = (samples.first_mut(), python) {
        first.python = python;
    }
}

enum Woken {
    Done,
    Control,
    Nobody,
}

fn wait_either(files: &Files, server: &Server, patience: Duration) -> Woken {
    let mut polls = [
        libc::pollfd { fd: files.done.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: server.control().as_raw_fd(), events: libc::POLLIN, revents: 0 },
    ];
    // SAFETY: two valid entries are passed.
    let ready = unsafe { libc::poll(polls.as_mut_ptr(), 2, patience.as_millis() as i32) };
    if ready <= 0 {
        Woken::Nobody
    } else if polls[0].revents & libc::POLLIN != 0 {
        Woken::Done
    } else {
        Woken::Control
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hitmap_wire::batch::SLOTS;
    use hitmap_wire::batch::notes::Moment;
    use hitmap_wire::control::{self, Kind, Message, sample_signal};
    use std::sync::{Arc, Mutex};

    /// What a child does that was asked for a sample so many times.
    type Answers = fn(usize) -> Answer;

    enum Answer {
        Sample,
        Nothing,
        ComesBack,
    }

    /// Plays server and child, which hangs in slot 3; gives the signals that were sent.
    fn check(timeout: u64, first_look: Option<u64>, answers: Answers, is_known: bool) -> (BatchEnd, Child, Vec<i32>) {
        // SAFETY: a handler of libc's own, for a signal that nobody sends to this process.
        unsafe { libc::signal(sample_signal(), libc::abs as *const () as usize) };
        let files = Arc::new(Files::new(4096).unwrap());
        let (ours, theirs) = control::socket_pair().unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let player = std::thread::spawn({
            let (files, sent) = (files.clone(), sent.clone());
            move || {
                let mut asked = 0;
                while let Ok(Some(message)) = Message::receive(theirs.as_fd()) {
                    let signal = message.value;
                    sent.lock().unwrap().push(signal);
                    if signal == libc::SIGABRT || signal == libc::SIGKILL {
                        Message::new(Kind::Exited, signal, 0).send(theirs.as_fd()).unwrap();
                    } else if signal == sample_signal() {
                        asked += 1;
                        match answers(asked) {
                            Answer::Nothing => {}
                            Answer::ComesBack => {
                                sample(&files);
                                control::wake(files.done.as_fd()).unwrap();
                            }
                            Answer::Sample => sample(&files),
                        }
                    }
                }
            }
        });
        let server = Server::played(ours);
        files.batch.header().cur.store(3, Ordering::Relaxed);
        files.batch.header().count.store(SLOTS as u32, Ordering::Relaxed);
        let mut child = Child::new(std::process::id() as i32, 0);
        let limits = Limits { timeout: Duration::from_millis(timeout), memory_mb: 0, ..Limits::default() };
        let first_look = first_look.map(Duration::from_millis);
        let mut is_known = |_, _: &[Sample]| is_known;
        let mut watch = Watch { first_look, is_known: &mut is_known };
        let end = child.work(&files, &server, &limits, &mut watch).unwrap();
        drop(server);
        player.join().unwrap();
        let sent = sent.lock().unwrap().clone();
        (end, child, sent)
    }

    fn sample(files: &Files) {
        let note = &files.batch.sample_notes()[files.batch.samples_taken()];
        note.moment.store(Moment::Anywhere as u32, Ordering::Release);
    }

    fn samples(count: usize) -> Vec<i32> {
        vec![sample_signal(); count]
    }

    #[test]
    fn a_hang_is_looked_at_before_it_is_ended() {
        let (end, child, sent) = check(60, None, |_| Answer::Sample, false);
        assert_eq!((end, child.samples.len(), child.was_cut), (BatchEnd::TimedOut, LOOKS, false));
        assert_eq!(sent, [samples(LOOKS), vec![libc::SIGABRT, libc::SIGCONT]].concat());
    }

    #[test]
    fn a_known_hang_is_cut_once_two_looks_agree() {
        let (end, child, sent) = check(60_000, Some(20), |_| Answer::Sample, true);
        assert_eq!((end, child.samples.len(), child.was_cut), (BatchEnd::TimedOut, 4, true));
        assert_eq!(sent, [samples(4), vec![libc::SIGKILL]].concat());
    }

    #[test]
    fn another_hang_gets_its_time() {
        let (end, child, sent) = check(300, Some(20), |_| Answer::Sample, false);
        assert_eq!((end, child.was_cut), (BatchEnd::TimedOut, false));
        let early: usize = EARLY_LOOKS.iter().map(|(count, _)| count).sum();
        assert!(child.samples.len() > early, "{} samples", child.samples.len());
        assert!(sent.ends_with(&[libc::SIGABRT, libc::SIGCONT]));
    }

    #[test]
    fn who_is_woken_by_a_look_at_the_limit_is_late_all_the_same() {
        let (end, child, sent) = check(60, None, |_| Answer::ComesBack, false);
        assert_eq!((end, child.samples.len()), (BatchEnd::TimedOut, 1));
        assert_eq!(sent[..2], [sample_signal(), libc::SIGABRT]);
    }

    #[test]
    fn who_is_woken_by_an_early_look_is_cut_when_it_is_known() {
        let (end, child, sent) = check(60_000, Some(20), |_| Answer::ComesBack, true);
        assert_eq!((end, child.was_cut, sent), (BatchEnd::TimedOut, true, vec![sample_signal(), libc::SIGKILL]));
        let (end, child, sent) = check(60_000, Some(20), |_| Answer::ComesBack, false);
        assert_eq!((end, child.was_cut, sent), (BatchEnd::Done, false, samples(1)));
    }

    #[test]
    fn who_does_not_answer_is_ended_as_ever() {
        let (end, child, sent) = check(60, None, |_| Answer::Nothing, true);
        assert_eq!((end, child.samples.len()), (BatchEnd::TimedOut, 0));
        assert_eq!(sent[..2], [sample_signal(), libc::SIGKILL]);
    }
}
