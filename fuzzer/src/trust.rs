//! Which campaigns this user made on this machine.
//!
//! A campaign's folder names a Python interpreter and a harness, which may be a pickle: whoever runs them
//! runs somebody's code. A folder that came from elsewhere is data, so only a campaign that is remembered
//! here chooses them by itself. Remembered is what would be run, in the user's state folder and not in
//! the campaign's: a folder that comes back with another interpreter in it is a stranger again.
//!
//! Owns `$XDG_STATE_HOME/hitmap/campaigns`, else `~/.local/state/hitmap/campaigns`: a small file for each.

use std::fs::{DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk;

/// Campaigns that are remembered at the most; then the oldest are forgotten.
const MOST: usize = 4096;
/// The largest pickle, in bytes.
const LARGEST: u64 = 1 << 30;

/// What a campaign would have run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Tells the campaign from others: 32 hexadecimal digits, left to chance.
    pub id: String,
    /// `FILE.py` or `FILE.py:NAME`, or a pickle.
    pub harness: String,
    /// The interpreter.
    pub python: String,
}

/// A name for a new campaign; empty when the system gives no random bytes, and then it is never known.
pub fn fresh_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map(|()| hex(&bytes)).unwrap_or_default()
}

/// The campaigns that a user made on this machine.
pub struct Made {
    folder: PathBuf,
}

impl Made {
    /// Those of the user who asks.
    ///
    /// # Errors
    /// A sentence, when there is nowhere to remember them.
    pub fn by_this_user() -> Result<Made, String> {
        let absolute = |path: &PathBuf| path.is_absolute();
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(absolute);
        let home = || std::env::home_dir().filter(absolute).map(|home| home.join(".local/state"));
        let state = state.or_else(home).ok_or_else(|| format!("you have no home folder (HOME), so {REMEDY}"))?;
        Ok(Made { folder: state.join("hitmap/campaigns") })
    }

    /// Remembers one more.
    ///
    /// # Errors
    /// A sentence that says what prevents it, and what to do.
    pub fn remember(&self, claim: &Claim) -> Result<(), String> {
        let told = |e: std::io::Error| {
            format!("cannot remember in {} that this campaign is yours: {e}; so {REMEDY}", self.folder.display())
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(told)?;
        self.check_owner()?;
        let text = serde_json::to_vec_pretty(claim).map_err(|e| e.to_string())?;
        disk::replace(&self.folder.join(claim.file().map_err(told)?), &text).map_err(told)?;
        forget_oldest(&self.folder);
        Ok(())
    }

    /// Whether the user made the campaign here, and it would still run the same.
    ///
    /// # Errors
    /// A sentence that says why that is not known.
    pub fn has(&self, claim: &Claim) -> Result<bool, String> {
        let is_id = claim.id.len() == 32 && claim.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id || !self.folder.exists() {
            return Ok(false);
        }
        self.check_owner()?;
        // A pickle that cannot be read cannot be run either.
        let Ok(file) = claim.file() else { return Ok(false) };
        let kept = disk::read(&self.folder.join(file), disk::LONGEST_TEXT).unwrap_or_default();
        Ok(serde_json::from_slice::<Claim>(&kept).is_ok_and(|kept| kept == *claim))
    }

    /// Others could say there what is trusted.
    fn check_owner(&self) -> Result<(), String> {
        // The owner of a process's own entry is the user that it runs as.
        let about = std::fs::metadata("/proc/self").and_then(|own| Ok((own.uid(), std::fs::metadata(&self.folder)?)));
        let is_ours = |(user, about): (u32, Metadata)| about.uid() == user && about.permissions().mode() & 0o022 == 0;
        if about.is_ok_and(is_ours) {
            return Ok(());
        }
        let folder = self.folder.display();
        Err(format!("{folder}: others than you can write there, so it does not say what is yours, and {REMEDY}"))
    }
}

const REMEDY: &str = "`hitmap replay` will ask for --trust (set XDG_STATE_HOME to a folder that only you can write)";

impl Claim {
    /// The file of everything that could be run, with the bytes of a pickle: a harness in a Python file
    /// is the user's own, wherever the campaign lies, and changes.
    fn file(&self) -> std::io::Result<String> {
        let mut hash = Sha256::new();
        for part in [&self.harness, &self.python] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        if self.harness.ends_with(".pkl") {
            hash.update(disk::read(Path::new(&self.harness), LARGEST)?);
        }
        Ok(format!("{}-{}.json", self.id, hex(&hash.finalize()[..16])))
    }
}

fn forget_oldest(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut kept: Vec<_> = entries.filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
    kept.sort();
    for (_, path) in kept.iter().take(kept.len().saturating_sub(MOST)) {
        let _ = std::fs::remove_file(path);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(harness: &str, python: &str) -> Claim {
        let id = "0123456789abcdef0123456789abcdef".into();
        Claim { id, harness: harness.into(), python: python.into() }
    }

    #[test]
    fn what_was_made_here_is_known_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let made = Made { folder: folder.path().join("state/campaigns") };
        let pickle = folder.path().join("h.pkl");
        std::fs::write(&pickle, "mine").unwrap();
        let ours = [claim("/h.py:run", "/bin/python"), claim(pickle.to_str().unwrap(), "/bin/python")];
        assert!(ours.iter().all(|claim| made.has(claim) == Ok(false)));
        ours.iter().for_each(|claim| made.remember(claim).unwrap());
        assert!(ours.iter().all(|claim| made.has(claim) == Ok(true)));
        let mut foreign = vec![claim("/h.py:run", "/tmp/evil"), claim("/evil.py", "/bin/python")];
        for id in ["", "../../evil", "0123456789abcdef0123456789abcdee"] {
            foreign.push(Claim { id: id.into(), ..ours[0].clone() });
        }
        assert!(foreign.iter().all(|claim| made.has(claim) == Ok(false)));
        std::fs::write(&pickle, "evil").unwrap();
        assert_eq!(made.has(&ours[1]), Ok(false));
    }

    #[test]
    fn a_state_folder_that_will_not_do_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let made = Made { folder: folder.path().join("campaigns") };
        let ours = claim("/h.py", "/bin/python");
        made.remember(&ours).unwrap();
        std::fs::set_permissions(&made.folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(made.has(&ours).unwrap_err().contains("others than you can write there"));
        assert!(made.remember(&ours).unwrap_err().contains("--trust"));
        let nowhere = Made { folder: "/proc/nowhere".into() };
        assert!(nowhere.remember(&ours).unwrap_err().contains("XDG_STATE_HOME"));
        assert_eq!(nowhere.has(&ours), Ok(false));
    }

    #[test]
    fn ids_differ() {
        assert_ne!(fresh_id(), fresh_id());
        assert_eq!(fresh_id().len(), 32);
    }
}
