//! `hitmap engine`: one engine process, started by the launcher.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::session;
use crate::error::{Failure, exit};
use crate::launcher::message::Message;
use crate::settings::Settings;

/// What the launcher typed.
#[derive(Debug, clap::Args)]
pub struct Typed {
    #[arg(long)]
    index: usize,
    /// Seconds of the session that are gone.
    #[arg(long, default_value_t = 0.0)]
    gone: f64,
    /// Executions of the engine's budget that are spent.
    #[arg(long, default_value_t = 0)]
    spent: u64,
    #[arg(long)]
    settings: String,
}

/// Runs an engine; what goes wrong is told to the launcher, not to the terminal.
///
/// # Errors
/// When somebody else typed this.
pub fn run(typed: Typed) -> Result<i32, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let listening = super::listen(move || {
        raised.store(true, Ordering::Relaxed);
        // A harness may take minutes to import, and nothing is written before it is.
        if !session::IS_READY.load(Ordering::Relaxed) {
            Message::Done { interrupted: true }.send();
            std::process::exit(exit::CLEAN);
        }
    });
    let mut settings: Settings = serde_json::from_str(&typed.settings)
        .map_err(|e| Failure::usage(format!("`hitmap engine` is started by `hitmap fuzz`, not by hand ({e})")))?;
    settings.max_time = settings.max_time.map(|all| (all - typed.gone).max(0.0));
    let budget = settings.execs_of(typed.index).map(|all| all.saturating_sub(typed.spent));
    let message = match listening.and_then(|()| session::run(&settings, typed.index, budget, stop)) {
        Ok(interrupted) => Message::Done { interrupted },
        Err(failure) => Message::Failed { code: failure.code, message: failure.message },
    };
    message.send();
    Ok(exit::CLEAN)
}
