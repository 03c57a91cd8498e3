//! The observer of a run that an executor has already read: the edges it touched, and no more.

use std::borrow::Cow;

use hitmap_wire::class::Class;
use libafl::Error;
use libafl::observers::Observer;
use libafl_bolts::Named;
use serde::{Deserialize, Serialize};

/// An edge and its class: what one run did to it.
pub type Hit = (u32, Class);

/// The edges of the last run, each once. It costs what was touched, however large the map is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TouchedObserver {
    name: Cow<'static, str>,
    hits: Vec<Hit>,
}

impl TouchedObserver {
    /// An observer that has seen nothing.
    pub fn new(name: &'static str) -> TouchedObserver {
        TouchedObserver { name: Cow::Borrowed(name), hits: Vec::new() }
    }

    /// The edges of the last run.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// Where the executor puts the edges of a run; cleared before each.
    pub fn hits_mut(&mut self) -> &mut Vec<Hit> {
        &mut self.hits
    }
}

impl Named for TouchedObserver {
    fn name(&self) -> &Cow<'static, str> {
        &self.name
    }
}

impl<I, S> Observer<I, S> for TouchedObserver {
    fn pre_exec(&mut self, _state: &mut S, _input: &I) -> Result<(), Error> {
        self.hits.clear();
        Ok(())
    }
}
