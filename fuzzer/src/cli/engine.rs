//! `hitmap engine`: one engine process, started by the launcher.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::session;
use crate::error::{Failure, exit};
use crate::launcher::message::Message;
use crate::settings::Settings;

/// What the launcher typed.
#[derive(Debug, clap::Args)]
pub struct Typed {
    #[arg(long)]
    index: usize,
    #[arg(long)]
    settings: String,
}

/// Runs an engine; what goes wrong is told to the launcher, not to the terminal.
///
/// # Errors
/// When somebody else typed this.
pub fn run(typed: Typed, stop: Arc<AtomicBool>) -> Result<i32, Failure> {
    let settings: Settings = serde_json::from_str(&typed.settings)
        .map_err(|e| Failure::usage(format!("`hitmap engine` is started by `hitmap fuzz`, not by hand ({e})")))?;
    let message = match session::run(&settings, typed.index, stop) {
        Ok(interrupted) => Message::Done { interrupted },
        Err(failure) => Message::Failed { code: failure.code, message: failure.message },
    };
    message.send();
    Ok(exit::CLEAN)
}
