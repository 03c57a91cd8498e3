//! File names as AFL++ spells them, so that its tools read a campaign (`docs/afl-fuzz_approach.md`).

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A seed file.
    Seed(String),
    /// Mutated from an entry of the same engine.
    Mutant(Option<usize>),
    /// Taken over from another engine's entry.
    Peer {
        /// That engine.
        name: String,
        /// Its entry's number.
        entry: usize,
    },
}

/// The name of a queue entry: number, origin, milliseconds since the start, executions so far.
pub fn queue(id: usize, origin: &Origin, millis: u64, execs: u64, new_edge: bool) -> String {
    let cov = if new_edge { ",+cov" } else { "" };
    match origin {
        Origin::Seed(file) => format!("id:{id:06},time:{millis},execs:{execs},orig:{}{cov}", clean(file)),
        Origin::Peer { name, entry } => {
            format!("id:{id:06},sync:{},src:{entry:06},time:{millis},execs:{execs}{cov}", clean(name))
        }
        Origin::Mutant(parent) => {
            let src = parent.map(|p| format!(",src:{p:06}")).unwrap_or_default();
            format!("id:{id:06}{src},time:{millis},execs:{execs},op:havoc{cov}")
        }
    }
}

/// The name of a file in `crashes/` or `hangs/`.
pub fn finding(id: usize, signal: Option<i32>, parent: Option<usize>, millis: u64, execs: u64) -> String {
    let sig = signal.map(|s| format!(",sig:{s:02}")).unwrap_or_default();
    let src = parent.map(|p| format!(",src:{p:06}")).unwrap_or_default();
    format!("id:{id:06}{sig}{src},time:{millis},execs:{execs},op:havoc")
}

/// The number in a name; `None` when it is not one of ours.
pub fn number(name: &str) -> Option<usize> {
    name.strip_prefix("id:")?.split(',').next()?.parse().ok()
}

/// The entry number that a name says it was made from.
pub fn parent(name: &str) -> Option<usize> {
    if name.contains(",sync:") {
        // That is another engine's entry.
        return None;
    }
    name.split(',').find_map(|part| part.strip_prefix("src:"))?.parse().ok()
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c == ',' || c == '/' || c.is_control() { '_' } else { c }).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_afl_names() {
        assert_eq!(queue(0, &Origin::Seed("a,b".into()), 0, 0, false), "id:000000,time:0,execs:0,orig:a_b");
        let mutant = queue(42, &Origin::Mutant(Some(17)), 1234, 5678, true);
        assert_eq!(mutant, "id:000042,src:000017,time:1234,execs:5678,op:havoc,+cov");
        assert_eq!((number(&mutant), parent(&mutant)), (Some(42), Some(17)));
        assert_eq!(finding(1, Some(6), Some(2), 3, 4), "id:000001,sig:06,src:000002,time:3,execs:4,op:havoc");
        assert_eq!(number("README.txt"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_safe(name: String) {
            number(&name);
            parent(&name);
            assert!(!queue(1, &Origin::Seed(name), 0, 0, false).contains('/'));
        }
    }
}
