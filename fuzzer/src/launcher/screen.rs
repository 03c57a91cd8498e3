//! The status line: live on a terminal, a plain line now and then otherwise. `indicatif` draws it and
//! knows `NO_COLOR` and terminals.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::message::Status;
use crate::campaign::health::{Ail, Warning};
use crate::print;
use crate::settings::Settings;

/// How often a plain line is written when there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// What is shown while a campaign runs, and what was last known of its engines.
pub struct Screen {
    bar: ProgressBar,
    is_live: bool,
    engines: Vec<Status>,
    first_execs: Vec<Option<u64>>,
    /// Executions and entries of engines that earlier sessions had and this one has not.
    idle: (u64, usize),
    findings: usize,
    plain: Instant,
    max_time: Option<f64>,
    warned: HashSet<Ail>,
}

impl Screen {
    /// A screen for the engines of a session.
    pub fn new(settings: &Settings) -> Screen {
        let is_live = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Screen {
            bar,
            is_live,
            engines: vec![Status::default(); settings.workers],
            first_execs: vec![None; settings.workers],
            idle: crate::campaign::idle(&settings.out, settings.workers),
            findings: crate::finding::kept::all(&settings.out.join("findings"), "").map_or(0, |all| all.len()),
            plain: Instant::now(),
            max_time: settings.max_time,
            warned: HashSet::new(),
        }
    }

    /// Takes over what an engine said.
    pub fn status(&mut self, status: Status) {
        let Some(known) = self.engines.get_mut(status.engine) else { return };
        self.first_execs[status.engine].get_or_insert(status.execs);
        *known = status;
    }

    /// Something that the user should know.
    pub fn note(&self, text: &str) {
        self.say(&format!("note: {text}"));
    }

    /// Something ails an engine. It is said once, whichever engine says it.
    pub fn warn(&mut self, warning: &Warning) {
        if self.warned.insert(warning.ail) {
            self.say(&format!("warning: {}", warning.text));
        }
    }

    /// A new finding.
    pub fn finding(&mut self, title: &str, folder: &str) {
        self.findings += 1;
        self.say(&format!("found: {title}\n       {folder}"));
    }

    fn say(&self, text: &str) {
        if self.is_live {
            self.bar.println(print::broken(&print::plain(text), print::width()));
        } else {
            print::remark(text);
        }
    }

    /// Executions of all engines, over all sessions.
    pub fn execs(&self) -> u64 {
        self.idle.0 + self.engines.iter().map(|e| e.execs).sum::<u64>()
    }

    /// Entries in all queues.
    pub fn corpus(&self) -> usize {
        self.idle.1 + self.engines.iter().map(|e| e.corpus).sum::<usize>()
    }

    /// Draws the status line when it is time to.
    pub fn draw(&mut self, elapsed: Duration) {
        if !self.is_live && self.plain.elapsed() < PLAIN_EVERY {
            return;
        }
        self.plain = Instant::now();
        // The spinner and its space stand before it.
        let line = self.line(elapsed, print::width().map(|columns| columns.saturating_sub(3)));
        if self.is_live {
            self.bar.set_message(line);
            self.bar.tick();
        } else {
            print::remark(line);
        }
    }

    fn line(&self, elapsed: Duration, width: Option<usize>) -> String {
        let rate: f64 = self.engines.iter().map(|e| e.execs_per_sec).sum();
        let best = |of: fn(&Status) -> u64| self.engines.iter().map(of).max().unwrap_or(0);
        let limit = self.max_time.map(|s| format!(" of {s:.0}")).unwrap_or_default();
        let mut shown = HashSet::new();
        let ails = self.engines.iter().flat_map(|e| &e.ails).filter(|warning| shown.insert(warning.ail));
        let shares = self.engines.iter().map(|e| e.known_bugs);
        let share = 100.0 * shares.sum::<f64>() / self.engines.len().max(1) as f64;
        let mut parts = vec![
            (0, format!("{:.0}{limit} s", elapsed.as_secs_f64())),
            (3, format!("{} runs", grouped(self.execs()))),
            (2, format!("{}/s", grouped(rate as u64))),
            (1, format!("{} of {} edges", grouped(best(|e| e.edges)), grouped(best(|e| e.total_edges)))),
            (4, format!("{} in corpus", grouped(self.corpus() as u64))),
            (0, counted(self.findings, "finding")),
        ];
        parts.extend((share > 1.0).then(|| (4, format!("{share:.0} % on known bugs"))));
        parts.extend(ails.map(|warning| (5, warning.short.clone())));
        fitted(parts, width)
    }

    /// Takes the status line away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Executions that engine number `index` did in this session, as far as it told.
    pub fn spent(&self, index: usize) -> u64 {
        let first = self.first_execs.get(index).copied().flatten().unwrap_or(0);
        self.engines.get(index).map_or(0, |e| e.execs.saturating_sub(first))
    }
}

/// Parts of the status line that there is room for, in their order. Those of the highest rank go first, and
/// of these the last; those of rank 0 stay.
fn fitted(mut parts: Vec<(u8, String)>, width: Option<usize>) -> String {
    loop {
        let line = parts.iter().map(|(_, part)| part.as_str()).collect::<Vec<_>>().join(" · ");
        let least = parts.iter().enumerate().max_by_key(|(_, (rank, _))| *rank).filter(|(_, (rank, _))| *rank > 0);
        match least.map(|(at, _)| at) {
            Some(at) if width.is_some_and(|width| console::measure_text_width(&line) > width) => parts.remove(at),
            _ => return line,
        };
    }
}

/// A number with its thousands apart, as in 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 finding`, `2 findings`.
pub fn counted(number: usize, word: &str) -> String {
    format!("{} {word}{}", grouped(number as u64), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ails_several_engines_stands_in_the_line_once() {
        let out = tempfile::tempdir().unwrap();
        let mut screen = Screen::new(&Settings { workers: 2, ..Settings::for_test(out.path()) });
        let ail = Warning { ail: Ail::Waiting, short: "waiting 83 %".into(), text: String::new() };
        for engine in 0..2 {
            screen.status(Status { engine, ails: vec![ail.clone()], ..Status::default() });
        }
        let line = screen.line(Duration::ZERO, None);
        assert!(line.ends_with("0 findings · waiting 83 %"), "{line}");
    }

    #[test]
    fn a_line_that_is_too_long_loses_what_matters_least() {
        let parts = || [(0, "12 s"), (3, "3,000 runs"), (0, "1 finding"), (5, "waiting 83 %"), (5, "unstable")];
        let fits = |width| fitted(parts().map(|(rank, part)| (rank, part.to_owned())).into(), width);
        for (width, line) in [
            (None, "12 s · 3,000 runs · 1 finding · waiting 83 % · unstable"),
            (Some(44), "12 s · 3,000 runs · 1 finding · waiting 83 %"),
            (Some(43), "12 s · 3,000 runs · 1 finding"),
            (Some(20), "12 s · 1 finding"),
            (Some(3), "12 s · 1 finding"),
        ] {
            assert_eq!(fits(width), line);
        }
    }

    #[test]
    fn time_that_goes_to_known_bugs_stands_in_the_line() {
        let out = tempfile::tempdir().unwrap();
        let mut screen = Screen::new(&Settings { workers: 2, ..Settings::for_test(out.path()) });
        for (share, says) in [(0.015, "0 findings"), (0.3, "0 findings · 15 % on known bugs")] {
            screen.status(Status { known_bugs: share, ..Status::default() });
            let line = screen.line(Duration::ZERO, None);
            assert!(line.ends_with(says), "{line}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2000].map(|n| counted(n, "run")), ["0 runs", "1 run", "2,000 runs"]);
    }
}
