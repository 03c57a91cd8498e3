//! What every command that starts a worker asks: which builds of the libraries it loads, and the
//! interpreter.

use crate::launcher::Front;
use crate::worker::server::Sanitizer;

/// What the user typed.
#[derive(Debug, clap::Args)]
pub struct WorkerTyped {
    /// Run the builds with AddressSanitizer, which `hitmap build --asan PACKAGE` makes
    #[arg(long, conflicts_with = "ubsan")]
    asan: bool,
    /// Run the builds with UndefinedBehaviorSanitizer, which `hitmap build --ubsan PACKAGE` makes
    #[arg(long)]
    ubsan: bool,
    /// The Python interpreter that runs the harness
    #[arg(long, value_name = "PATH")]
    pub python: Option<String>,
}

impl WorkerTyped {
    /// Whose builds to run; `None` for the ordinary ones.
    pub fn sanitizer(&self) -> Option<Sanitizer> {
        let typed = [(self.asan, Sanitizer::Asan), (self.ubsan, Sanitizer::Ubsan)];
        typed.into_iter().find_map(|(typed, sanitizer)| typed.then_some(sanitizer))
    }

    /// The interpreter, as a command names it.
    pub fn python(&self, front: &Front) -> String {
        self.python.clone().unwrap_or_else(|| front.python.to_string_lossy().into_owned())
    }
}
