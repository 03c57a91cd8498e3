//! What other engines of the campaign keep: their feature logs are followed, their inputs read.
//!
//! A log says what an entry covers, so an input is read and run only when it would bring something.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hitmap_observers::history::History;
use hitmap_observers::snapshot::FeatureReader;
use hitmap_wire::modules::Module;

use super::folder::join;
use super::names;
use crate::disk;

/// Entries that are taken over at the most in one go, so that an engine goes on fuzzing meanwhile.
const AT_ONCE: usize = 64;

/// An input that another engine found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// That engine.
    pub peer: String,
    /// Its entry's number.
    pub entry: usize,
    /// The input.
    pub input: Vec<u8>,
}

/// Follows the other engines of a campaign.
#[derive(Debug)]
pub struct Peers {
    out: PathBuf,
    own: String,
    /// None for a log that was damaged.
    readers: BTreeMap<String, Option<FeatureReader>>,
}

impl Peers {
    /// The peers of engine `own` in the campaign `out`.
    pub fn new(out: &Path, own: &str) -> Peers {
        Peers { out: out.into(), own: own.into(), readers: BTreeMap::new() }
    }

    /// Inputs of peers that would bring something new. A log that is damaged is not followed further.
    pub fn news(&mut self, history: &History, modules: &[Module]) -> Vec<Offer> {
        self.meet();
        let mut offers = Vec::new();
        for (peer, followed) in &mut self.readers {
            while offers.len() < AT_ONCE {
                let Some(reader) = followed else { break };
                let record = match reader.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(_) => {
                        *followed = None;
                        break;
                    }
                };
                let (hits, foreign) = join(&record, reader.modules(), modules);
                let is_news = foreign || hits.iter().any(|(edge, class)| history.is_novel(*edge, *class));
                let file = self.out.join(peer).join("queue").join(&record.name);
                if let (true, Ok(input)) = (is_news, disk::read(&file, disk::LONGEST_INPUT)) {
                    let entry = names::number(&record.name).unwrap_or(0);
                    offers.push(Offer { peer: peer.clone(), entry, input });
                }
            }
        }
        offers
    }

    fn meet(&mut self) {
        let Ok(folders) = std::fs::read_dir(&self.out) else { return };
        for folder in folders.flatten() {
            let name = folder.file_name().to_string_lossy().into_owned();
            if name == self.own || self.readers.contains_key(&name) {
                continue;
            }
            if let Ok(reader) = FeatureReader::open(folder.path().join("features.hitmap")) {
                self.readers.insert(name, Some(reader));
            }
        }
    }
}
