//! What became of one input.

/// What became of one input, as one byte in shared memory and as a word in file names.
///
/// Everything from [`Outcome::Exception`] on is a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// The harness returned.
    Ok = 1,
    /// The harness raised one of its expected exceptions.
    Rejected = 2,
    /// The harness raised anything else.
    Exception = 3,
    /// A signal ended the child.
    Signal = 4,
    /// The harness ended the process: `exit()` in C, or `SystemExit`.
    Exit = 5,
    /// The input ran longer than the limit and the child was killed.
    Timeout = 6,
    /// The input wanted more memory than the limit.
    OutOfMemory = 7,
    /// A sanitizer ended the child with a report.
    Sanitizer = 8,
}

impl Outcome {
    /// Every outcome, in order of code.
    pub const ALL: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::Rejected,
        Outcome::Exception,
        Outcome::Signal,
        Outcome::Exit,
        Outcome::Timeout,
        Outcome::OutOfMemory,
        Outcome::Sanitizer,
    ];

    /// Reads a byte from shared memory; `None` when no outcome has that code.
    pub fn from_code(code: u8) -> Option<Outcome> {
        Self::ALL.into_iter().find(|o| *o as u8 == code)
    }

    /// Whether a user wants to hear of it.
    pub fn is_finding(self) -> bool {
        self >= Outcome::Exception
    }

    /// The word that names it in `findings/<word>-<signature>/` and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Rejected => "rejected",
            Outcome::Exception => "exception",
            Outcome::Signal => "signal",
            Outcome::Exit => "exit",
            Outcome::Timeout => "timeout",
            Outcome::OutOfMemory => "oom",
            Outcome::Sanitizer => "sanitizer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_golden() {
        assert_eq!(Outcome::ALL.map(|o| o as u8), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Outcome::from_code(0), None);
        assert_eq!(Outcome::from_code(9), None);
    }
}
