//! What people type who know another fuzzer, and slips of one character: it is done, or the right word is
//! said. Nothing here is a second way that is documented.

use std::ffi::OsString;

use clap::Command;

use crate::error::Failure;

/// The command line as clap takes it. `arguments` begin with the program's name.
///
/// # Errors
/// With the right word, where hitmap has no such thing.
pub fn respell(arguments: Vec<OsString>, command: &Command) -> Result<Vec<OsString>, Failure> {
    let Some(verb) = arguments.get(1).and_then(|verb| verb.to_str()).map(str::to_owned) else { return Ok(arguments) };
    if let Some(word) = other_verb(&verb) {
        return Err(Failure::usage(format!("there is no `hitmap {verb}`; {word}")));
    }
    if verb.contains(".py") {
        return Err(Failure::usage(format!("{verb}: a harness; say `hitmap fuzz {verb}`")));
    }
    let mut respelled = arguments;
    match verb.as_str() {
        "help" => {
            respelled.remove(1);
            respelled.push("--help".into());
        }
        "version" => respelled[1] = "--version".into(),
        "fuzz" | "bench" | "replay" => {
            let longs = long_options(command, &verb);
            let rest = respelled.split_off(2);
            let mut is_over = false;
            for argument in rest {
                is_over |= argument == "--";
                match argument.to_str().filter(|_| !is_over).map(str::to_owned) {
                    Some(text) => respelled.extend(option(&text, &verb, &longs)?.into_iter().map(Into::into)),
                    None if is_over && verb == "fuzz" => return Err(no_command()),
                    None => respelled.push(argument),
                }
            }
        }
        _ => {}
    }
    Ok(respelled)
}

fn long_options(command: &Command, verb: &str) -> Vec<String> {
    let verb = command.find_subcommand(verb);
    let all = verb.into_iter().flat_map(Command::get_arguments).filter_map(clap::Arg::get_long);
    all.map(str::to_owned).collect()
}

fn no_command() -> Failure {
    Failure::usage(
        "`--`: hitmap fuzz takes no command of a target; name a Python file that defines a harness, and its options",
    )
}

/// One argument of a verb that takes a harness, in the words of that verb.
fn option(text: &str, verb: &str, longs: &[String]) -> Result<Vec<String>, Failure> {
    let same = || Ok(vec![text.to_owned()]);
    if text == "@@" {
        return Err(Failure::usage("@@: a harness takes its input as bytes; see `hitmap fuzz --help`"));
    }
    let Some(bare) = text.strip_prefix('-') else { return same() };
    let (name, value) = bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)));
    // `--max_time`.
    if let Some(long) = name.strip_prefix('-') {
        let long = long.replace('_', "-");
        return Ok(vec![value.map_or(format!("--{long}"), |value| format!("--{long}={value}"))]);
    }
    if let Some(value) = value
        && let Some(option) = of_libfuzzer(name, value, verb)?
    {
        return Ok(option);
    }
    // `-out DIR` would be taken for `-o ut DIR`.
    let long = name.replace('_', "-");
    if name.len() > 1 && longs.contains(&long) {
        if long == "timeout" {
            return Err(Failure::usage(format!("{text}: say -t MILLISECONDS, or -t 2s")));
        }
        return Ok(vec![value.map_or(format!("--{long}"), |value| format!("--{long}={value}"))]);
    }
    let is_afl = verb == "fuzz" && name.len() == 1 && "MSQUWDdFacpbTLlnCPyY".contains(name);
    match name {
        "M" | "S" if verb == "fuzz" => Err(Failure::usage(format!("{text}: say -j N; one command runs all engines"))),
        _ if is_afl => {
            Err(Failure::usage(format!("{text}: an option of afl-fuzz that hitmap has no use for; leave it out")))
        }
        _ => same(),
    }
}

/// An option of libFuzzer or Atheris, which are written `-name=value`; `None` when it is none of theirs.
fn of_libfuzzer(name: &str, value: &str, verb: &str) -> Result<Option<Vec<String>>, Failure> {
    let is_off = matches!(value, "0" | "-1");
    let ours = |option: &str, value: &str| Ok(Some(vec![option.to_owned(), value.to_owned()]));
    let nothing = || Ok(Some(Vec::new()));
    match name {
        "runs" | "atheris_runs" if value == "-1" => nothing(),
        "max_total_time" | "max_len" | "seed" if is_off => nothing(),
        "timeout" if is_off => Err(Failure::usage(format!("-timeout={value}: name a limit; the default is -t 1000"))),
        "runs" | "atheris_runs" => ours("--max-execs", value),
        "max_total_time" => ours("--max-time", value),
        "max_len" => ours("--max-len", value),
        "seed" => ours("--seed", value),
        "dict" => ours("--dict", value),
        "rss_limit_mb" => ours("--memory", value),
        // In seconds there, in milliseconds here.
        "timeout" => ours("--timeout", &format!("{}s", value.trim_end_matches('s'))),
        "jobs" | "workers" | "fork" if is_off => nothing(),
        "jobs" | "workers" | "fork" if verb == "fuzz" => ours("--workers", value),
        "artifact_prefix" | "exact_artifact_path" => {
            Err(Failure::usage(format!("-{name}: findings go into the campaign folder; name it with -o OUT")))
        }
        "merge" | "minimize_crash" | "set_cover_merge" | "cleanse_crash" => Err(Failure::usage(format!(
            "-{name}: hitmap keeps only inputs that bring something new, and trims them; give the corpus with -i"
        ))),
        name if name.len() > 2 && name.contains('_') => {
            Err(Failure::usage(format!("-{name}: an option of libFuzzer that hitmap has no use for; leave it out")))
        }
        _ => Ok(None),
    }
}

/// What to say in the place of a verb that hitmap does not have.
fn other_verb(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "plot" => "OUT/w0/plot_data is AFL++'s, so `afl-plot OUT/w0 FOLDER` draws it",
        "stats" | "status" | "whatsup" => {
            "`hitmap show OUT` says what is covered, and `afl-whatsup OUT` reads the rest"
        }
        "report" | "findings" | "crashes" => {
            "each finding's report is OUT/findings/*/traceback.txt, and `hitmap replay OUT` runs them again"
        }
        "resume" | "continue" | "start" => "`hitmap fuzz HARNESS.py -o OUT` goes on with OUT",
        "repro" | "reproduce" | "rerun" | "triage" | "crash" => "say `hitmap replay INPUT`",
        "cmin" | "minimize-corpus" => {
            "only inputs that bring something new are kept, and they are trimmed: give the corpus to `hitmap fuzz` with \
             -i, and take OUT/w0/queue"
        }
        "tmin" | "minimize" | "minimise" => "inputs are trimmed when they are kept; a finding is kept as it was found",
        "compare" => "say `hitmap diff A B`",
        "install" => "say `hitmap build PACKAGE`",
        "compile" | "cc" => {
            "`hitmap build PACKAGE` builds a package; `hitmap flags` and hitmap-clang++ are for other builds"
        }
        "afl" | "afl-fuzz" => {
            "say `hitmap fuzz HARNESS.py`, or see the guide for `python -m hitmap.worker` under afl-fuzz"
        }
        "run-fuzzer" | "libfuzzer" | "atheris" => "say `hitmap fuzz HARNESS.py`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Arguments;
    use clap::CommandFactory;

    fn respelled(typed: &str) -> Result<String, String> {
        let arguments = std::iter::once("hitmap").chain(typed.split_whitespace()).map(OsString::from).collect();
        let words = respell(arguments, &Arguments::command()).map_err(|failure| failure.message)?;
        let words: Vec<String> = words.into_iter().skip(1).map(|word| word.into_string().unwrap()).collect();
        Ok(words.join(" "))
    }

    #[test]
    fn what_is_meant_is_done() {
        for (typed, meant) in [
            ("fuzz h.py -runs=5 -max_total_time=60", "fuzz h.py --max-execs 5 --max-time 60"),
            ("fuzz h.py -runs=-1 -max_total_time=0 -seed=0", "fuzz h.py"),
            ("fuzz h.py -runs=0", "fuzz h.py --max-execs 0"),
            ("fuzz h.py -timeout=5 -rss_limit_mb=0", "fuzz h.py --timeout 5s --memory 0"),
            (
                "fuzz h.py -dict=a.dict -max_len=64 -seed=3 -jobs=4",
                "fuzz h.py --dict a.dict --max-len 64 --seed 3 --workers 4",
            ),
            ("fuzz h.py -atheris_runs=9 -fork=2", "fuzz h.py --max-execs 9 --workers 2"),
            ("fuzz h.py --max_time 5m --max_execs=7", "fuzz h.py --max-time 5m --max-execs=7"),
            ("fuzz h.py -max-time 5 -out o -seeds s", "fuzz h.py --max-time 5 --out o --seeds s"),
            ("fuzz h.py -i s -o o -j4 -t 500 -m 2G -x d", "fuzz h.py -i s -o o -j4 -t 500 -m 2G -x d"),
            ("replay a -timeout=2", "replay a --timeout 2s"),
            ("help fuzz", "fuzz --help"),
            ("help", "--help"),
            ("version", "--version"),
            ("build -- x @@ -runs=5", "build -- x @@ -runs=5"),
            ("run -- ./a -runs=5", "run -- ./a -runs=5"),
        ] {
            assert_eq!(respelled(typed).as_deref(), Ok(meant), "{typed}");
        }
    }

    #[test]
    fn the_right_word_is_said() {
        for (typed, word) in [
            ("plot out", "afl-plot"),
            ("stats out", "hitmap show"),
            ("report out", "traceback.txt"),
            ("resume out", "hitmap fuzz HARNESS.py -o OUT"),
            ("repro x", "hitmap replay"),
            ("cmin -i a", "with -i"),
            ("tmin a", "trimmed"),
            ("h.py", "hitmap fuzz h.py"),
            ("fuzz h.py -artifact_prefix=x/", "-o OUT"),
            ("fuzz h.py -merge=1", "-i"),
            ("fuzz h.py -print_final_stats=1", "leave it out"),
            ("fuzz h.py -timeout=0", "-t 1000"),
            ("fuzz h.py -timeout 5", "-t MILLISECONDS"),
            ("fuzz h.py -M main", "-j N"),
            ("fuzz h.py -Q", "leave it out"),
            ("fuzz h.py -- ./target @@", "no command"),
            ("fuzz h.py @@", "bytes"),
        ] {
            let said = respelled(typed).expect_err(typed);
            assert!(said.contains(word), "{typed}: {said}");
        }
    }
}
