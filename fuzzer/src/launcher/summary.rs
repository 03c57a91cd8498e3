//! What a session ends with: how far it came, each finding, and what to type next.

use std::time::Duration;

use hitmap_observers::snapshot::Snapshot;

use super::screen::{Screen, counted, grouped};
use crate::error::Failure;
use crate::finding::save::all;
use crate::settings::Settings;

/// Prints the summary; returns the number of findings of the campaign.
///
/// # Errors
/// When the findings cannot be read.
pub fn print(
    settings: &Settings,
    screen: &Screen,
    coverage: &Snapshot,
    elapsed: Duration,
    interrupted: bool,
) -> Result<usize, Failure> {
    let path = settings.out.join("findings");
    let findings = all(&path).map_err(Failure::file("cannot read", &path))?;
    let (hits, total) = (coverage.hits(), coverage.total());
    println!(
        "\n{} after {:.0} s: {} runs in all, {} of {} edges ({:.1} %), {} in the corpus, {}",
        if interrupted { "Stopped" } else { "Done" },
        elapsed.as_secs_f64(),
        grouped(screen.execs()),
        grouped(hits),
        grouped(total),
        100.0 * hits as f64 / total.max(1) as f64,
        counted(screen.corpus(), "input"),
        counted(findings.len(), "finding")
    );
    for finding in &findings {
        let mark = if finding.reproduces { "" } else { " (did not come back in a fresh process)" };
        println!("\n  {}-{}{mark}", finding.kind, finding.signature);
        println!("    {}", finding.title);
        println!("    input:  {} ({} bytes)", finding.input, finding.input_len);
        println!("    replay: {}", finding.replay);
    }
    println!("\nGo on with: {}", settings.command());
    Ok(findings.len())
}
