//! LibAFL's objective: an outcome that a user wants to hear of.

use std::borrow::Cow;

use libafl::Error;
use libafl::executors::ExitKind;
use libafl::feedbacks::{Feedback, StateInitializer};
use libafl_bolts::Named;

/// Interesting is whatever did not end well; [`super::executor::exit_kind`] decides what that is.
#[derive(Debug, Default)]
pub struct FindingFeedback;

impl Named for FindingFeedback {
    fn name(&self) -> &Cow<'static, str> {
        &Cow::Borrowed("finding")
    }
}

impl<S> StateInitializer<S> for FindingFeedback {}

impl<EM, I, OT, S> Feedback<EM, I, OT, S> for FindingFeedback {
    fn is_interesting(&mut self, _: &mut S, _: &mut EM, _: &I, _: &OT, exit: &ExitKind) -> Result<bool, Error> {
        Ok(*exit != ExitKind::Ok)
    }
}
