//! What a snapshot says about itself besides its modules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Where a snapshot comes from. The order of the fields is the format.
///
/// Merging takes the later `created`, the larger `tool`, every line of either `harness`, every pair
/// of either `extra`, and **adds** `executions`: that is right for the workers of a campaign and for
/// campaigns of several machines, and it is the one thing that counts twice what is merged twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Seconds since 1970 in UTC; 0 for not known.
    pub created: u64,
    /// Name and version of what wrote it, such as `hitmap 0.1.0`.
    pub tool: String,
    /// The harness that ran, as it was named to hitmap; a line each after merging several.
    pub harness: String,
    /// Inputs that were run.
    pub executions: u64,
    /// Whatever else: (key, value). After merging a key may have several values.
    pub extra: BTreeSet<(String, String)>,
}

impl Meta {
    /// The values of `key` in [`Meta::extra`].
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.extra.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Takes in the other; see the rule above.
    pub fn merge(&mut self, other: &Meta) {
        self.created = self.created.max(other.created);
        if other.tool > self.tool {
            self.tool.clone_from(&other.tool);
        }
        if other.harness != self.harness {
            let lines: BTreeSet<&str> = self.harness.lines().chain(other.harness.lines()).collect();
            self.harness = lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        }
        self.executions = self.executions.saturating_add(other.executions);
        self.extra.extend(other.extra.iter().cloned());
    }
}
