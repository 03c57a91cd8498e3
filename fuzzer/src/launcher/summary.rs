//! What a session ends with: how far it came, each finding, and what to type next.

use std::time::Duration;

use hitmap_observers::snapshot::Snapshot;

use super::screen::{Screen, counted, grouped};
use crate::error::Failure;
use crate::finding::kept::all;
use crate::print;
use crate::settings::Settings;

/// Prints the summary; returns the number of findings of the campaign.
///
/// # Errors
/// When the findings cannot be read, or the summary cannot be written.
pub fn print(
    settings: &Settings,
    screen: &Screen,
    coverage: &Snapshot,
    elapsed: Duration,
    interrupted: bool,
) -> Result<usize, Failure> {
    let path = settings.out.join("findings");
    let findings = all(&path, &settings.hitmap).map_err(Failure::file("cannot read", &path))?;
    let (hits, total) = (coverage.hits(), coverage.total());
    print::line(format_args!(
        "\n{} after {:.0} s: {} runs in all, {} of {} edges ({:.1} %), {} in the corpus, {}",
        if interrupted { "Stopped" } else { "Done" },
        elapsed.as_secs_f64(),
        grouped(screen.execs()),
        grouped(hits),
        grouped(total),
        100.0 * hits as f64 / total.max(1) as f64,
        counted(screen.corpus(), "input"),
        counted(findings.len(), "finding")
    ))?;
    for finding in &findings {
        let mark = match &finding.damage {
            Some(damage) => format!(" ({damage}; start the campaign again, and it is written anew)"),
            None if finding.reproduces => String::new(),
            None => " (did not come back in a fresh process)".into(),
        };
        print::line(format_args!("\n  {}-{}{mark}", finding.kind, finding.signature))?;
        print::line(format_args!("    {}", finding.title))?;
        let size = counted(finding.input_len, "byte");
        print::line(format_args!("    input:  {} ({size})", finding.input))?;
        print::line(format_args!("    replay: {}", finding.replay))?;
    }
    print::line(format_args!("\nGo on with: {}", settings.command()))?;
    Ok(findings.len())
}
