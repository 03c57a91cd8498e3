//! LibAFL observers and feedbacks over a live hitmap region, and snapshots of maps.
//!
//! In the order in which a run is judged: a [`live`] map is read by its observers ([`observer`] is the
//! one for an executor that has read it already), [`feedback`] compares what was touched with
//! [`history`], and what a campaign reached is saved as a [`snapshot`] inside a checked [`frame`]. The
//! [`places`] of its edges in the source are read from the libraries' files, and [`relocate`] carries
//! hits from one build to another by them. Files are opened by [`disk`].

#![deny(missing_docs)]

pub mod disk;
pub mod feedback;
pub mod frame;
pub mod history;
pub mod live;
pub mod observer;
pub mod places;
pub mod relocate;
pub mod snapshot;

pub use feedback::NoveltyFeedback;
pub use history::History;
pub use live::{ComparisonObserver, EdgeObserver, LiveMap, MapError};
pub use snapshot::Snapshot;
