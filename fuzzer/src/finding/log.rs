//! What a target wrote to standard error as it died, as far as it says something.
//!
//! Words never decide what became of an input: a target may write anything, so that is known from its
//! handlers ([`hitmap_wire::batch::notes`]). Words only say more of what is known.

/// An assertion or another check that said why it ended the process. Texts that only repeat what the signal
/// says are left out.
const LAST_WORDS: [&str; 10] = [
    "Assertion ",
    "assertion ",
    "terminate called",
    "*** stack smashing",
    "*** buffer overflow",
    "free(): ",
    "malloc",
    "double free",
    "corrupted ",
    "Check failed",
];

/// What Python's faulthandler says of a signal (CPython, `Modules/faulthandler.c`).
const SIGNALS: [&str; 5] =
    ["Aborted", "Segmentation fault", "Bus error", "Illegal instruction", "Floating-point exception"];

/// Words of checks that are written in a library's own manner, whatever their case.
const CHECKS: [&str; 10] =
    ["fail", "error", "fatal", "assert", "abort", "panic", "invalid", "unreachable", "violat", "corrupt"];

/// What the target said last: the last line that looks like a check's, before Python's own report of the signal. An
/// assertion loses what stands before it: program, file and function are known better.
pub fn last_words(log: &str) -> Option<String> {
    if let Some(fatal) = fatal_error(log) {
        return Some(fatal);
    }
    let before = log.split("Fatal Python error: ").next().unwrap_or(log);
    let lines = || before.lines().rev().filter(|line| !line.trim().is_empty());
    let is_check = |line: &&str| {
        let line = line.to_ascii_lowercase();
        CHECKS.iter().any(|word| line.contains(word))
    };
    let line =
        lines().find(|line| LAST_WORDS.iter().any(|words| line.contains(words))).or_else(|| lines().find(is_check))?;
    let what = lines().find(|line| line.trim_start().starts_with("what(): "));
    let what = what.filter(|_| line.starts_with("terminate called")).map(|line| format!(" {}", line.trim()));
    let mut text: String = format!("{}{}", line.trim(), what.unwrap_or_default()).chars().take(300).collect();
    if let Some(at) = text.find("Assertion ") {
        text.drain(..at);
    }
    Some(text)
}

/// What somebody told `Py_FatalError`: `Fatal Python error: function: text`.
fn fatal_error(log: &str) -> Option<String> {
    let said = log.lines().find_map(|line| line.strip_prefix("Fatal Python error: "))?;
    (!SIGNALS.contains(&said.trim())).then(|| format!("Fatal Python error: {said}"))
}

/// What glibc says of an assertion or of damaged memory, which it keeps beside writing it:
/// `prog: file:line: function: Assertion `x' failed.`
pub fn abort_message(text: &str) -> Option<String> {
    let text = text.trim();
    let from = text.find("Assertion ").unwrap_or(0);
    (!text.is_empty()).then(|| text[from..].lines().next().unwrap_or_default().to_string())
}

/// A stack of a sanitizer's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SanitizerStack {
    /// The line above it: `freed by thread T0 here:`. Empty for the one of the error itself.
    pub heading: String,
    /// Library and address within its file, innermost first.
    pub frames: Vec<(String, u64)>,
}

/// What a sanitizer found, as its summary has it: `AddressSanitizer: heap-use-after-free`. To
/// UndefinedBehaviorSanitizer all is `undefined-behavior`; the line above says what it is, with the
/// values of this run, which are left out.
pub fn sanitizer_kind(log: &str) -> Option<String> {
    let (before, line) = log.rsplit_once("SUMMARY: ").or_else(|| log.rsplit_once("ERROR: "))?;
    let mut words = line.split_whitespace();
    let tool = words.next()?;
    let kind: Vec<&str> = words.take_while(|word| !is_detail(word)).collect();
    let kind = kind.first()?;
    let error = before.rsplit_once("runtime error: ").filter(|_| *kind == "undefined-behavior");
    let said = error.and_then(|(_, said)| said.lines().next());
    Some(format!("{tool} {}", said.map_or_else(|| kind.to_string(), without_values)))
}

fn is_detail(word: &str) -> bool {
    word.starts_with('(') || word.starts_with('/')
}

/// A sentence of UndefinedBehaviorSanitizer without the numbers and addresses of this run. What is quoted, and
/// words that hold a digit, such as types, stay.
fn without_values(said: &str) -> String {
    let is_number = |word: &str| {
        let digits = word.trim_start_matches(['-', '+']);
        digits.starts_with(|c: char| c.is_ascii_digit())
            && (digits.starts_with("0x") || digits.chars().all(|c| c.is_ascii_digit() || ".e+-".contains(c)))
    };
    let is_value = |word: &str| {
        let word = word.trim_matches(|c: char| ",;:()".contains(c));
        is_number(word) || ["+", "-", "*", "/", "%", "<<", ">>"].contains(&word)
    };
    let lasting = said.split_whitespace().filter(|word| !is_value(word));
    lasting.collect::<Vec<_>>().join(" ")
}

/// The stacks of a sanitizer's report, the error's own first.
pub fn sanitizer_stacks(log: &str) -> Vec<SanitizerStack> {
    let mut stacks: Vec<SanitizerStack> = Vec::new();
    let mut above = "";
    let from = log.rfind("ERROR: ").unwrap_or(0);
    for line in log[from..].lines() {
        let text = line.trim();
        let Some((number, rest)) = text.strip_prefix('#').and_then(|rest| rest.split_once(' ')) else {
            above = text;
            continue;
        };
        if number == "0" {
            let heading = if stacks.is_empty() { String::new() } else { above.to_string() };
            stacks.push(SanitizerStack { heading, frames: Vec::new() });
        }
        if let (Some(stack), Some(frame)) = (stacks.last_mut(), module_and_offset(rest)) {
            stack.frames.push(frame);
        }
    }
    stacks
}

/// `(/x/lib.so+0x1234)` somewhere in a line.
fn module_and_offset(line: &str) -> Option<(String, u64)> {
    let (before, after) = line.rsplit_once("+0x")?;
    let digits: String = after.chars().take_while(char::is_ascii_hexdigit).collect();
    let path = &before[before.find('(')? + 1..];
    Some((path.to_string(), u64::from_str_radix(&digits, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_last() {
        for (log, words) in [
            ("x\npython: a.h:3: void f(): Assertion `n > 0' failed.\n", Some("Assertion `n > 0' failed.")),
            (
                "terminate called after throwing an instance of 'E'\n  what():  no\nFatal Python error: Aborted\n",
                Some("terminate called after throwing an instance of 'E' what():  no"),
            ),
            ("Assertion failed: a\nAssertion failed: b\n", Some("Assertion failed: b")),
            ("[FATAL a.cpp:3] 5 > 3\nFatal Python error: Aborted\n", Some("[FATAL a.cpp:3] 5 > 3")),
            (
                "Fatal Python error: f: no list\nPython runtime state: initialized\nFatal Python error: Aborted\n",
                Some("Fatal Python error: f: no list"),
            ),
            ("double free or corruption (out)\n", Some("double free or corruption (out)")),
            ("Fatal Python error: Aborted\n  File \"/x/Assertion here.py\", line 1\n", None),
            ("quiet\n\n", None),
            ("lib: internal error 7\nbye\n", Some("lib: internal error 7")),
            ("", None),
        ] {
            assert_eq!(last_words(log).as_deref(), words, "{log}");
        }
        assert_eq!(
            abort_message("python: a.c:1: f: Assertion `x' failed.\n").as_deref(),
            Some("Assertion `x' failed.")
        );
        assert_eq!(abort_message("free(): invalid pointer\n").as_deref(), Some("free(): invalid pointer"));
        assert_eq!(abort_message(""), None);
    }

    #[test]
    fn a_sanitizer_names_the_kind() {
        for (log, kind) in [
            (
                "SUMMARY: AddressSanitizer: heap-use-after-free (/x/a.so+0x3682) (BuildId: 55) in f\n",
                "heap-use-after-free",
            ),
            ("SUMMARY: AddressSanitizer: stack-overflow /x/a.c:3 in f\n", "stack-overflow"),
            ("==7==ERROR: AddressSanitizer: SEGV on unknown address 0x0\n", "SEGV"),
            ("HTML Sanitizer: removed\nSUMMARY: AddressSanitizer: heap-buffer-overflow /x\n", "heap-buffer-overflow"),
        ] {
            assert_eq!(sanitizer_kind(log), Some(format!("AddressSanitizer: {kind}")), "{log}");
        }
        assert_eq!(sanitizer_kind("HTML Sanitizer: removed <script>"), None);
    }

    #[test]
    fn undefined_behaviour_is_named_without_this_runs_values() {
        for (said, name) in [
            (
                "signed integer overflow: 2147483520 + 128 cannot be represented in type 'int'",
                "signed integer overflow: cannot be represented in type 'int'",
            ),
            (
                "signed integer overflow: 3 * -9223372036854775808 cannot be represented in type 'int64_t' (aka 'long')",
                "signed integer overflow: cannot be represented in type 'int64_t' (aka 'long')",
            ),
            ("index 7 out of bounds for type 'int[4]'", "index out of bounds for type 'int[4]'"),
            ("index -7 out of bounds for type 'uint8_t[16]'", "index out of bounds for type 'uint8_t[16]'"),
            (
                "shift exponent 32 is too large for 32-bit type 'int'",
                "shift exponent is too large for 32-bit type 'int'",
            ),
            (
                "1.5e+20 is outside the range of representable values of type 'int'",
                "is outside the range of representable values of type 'int'",
            ),
            (
                "load of misaligned address 0x7ffd for type 'int', which requires 4 byte alignment",
                "load of misaligned address for type 'int', which requires byte alignment",
            ),
        ] {
            let log = format!(
                "a.cpp:3:9: runtime error: {said}\nSUMMARY: UndefinedBehaviorSanitizer: undefined-behavior a.cpp:3:9\n"
            );
            assert_eq!(sanitizer_kind(&log), Some(format!("UndefinedBehaviorSanitizer: {name}")));
        }
        let bare = "SUMMARY: UndefinedBehaviorSanitizer: undefined-behavior a.cpp:3:9\n";
        assert_eq!(sanitizer_kind(bare).as_deref(), Some("UndefinedBehaviorSanitizer: undefined-behavior"));
    }

    #[test]
    fn all_stacks_of_a_report_are_read() {
        let log = "noise\n==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x6020\nREAD of size 1 at 0x6020 thread T0\n    \
                   #0 0x7f01  (/x/a.so+0x10) (BuildId: 55)\n    #1 0x7f02 in f (/x/b (1).so+0x20)\n\n0x6020 is located 0 bytes\n\
                   freed by thread T0 here:\n    #0 0x55  (/usr/lib/libasan.so+0x99)\n\npreviously allocated by thread T0 here:\n    \
                   #0 0x55 in malloc (/usr/lib/libasan.so+0xAA)\n    #1 0x1 in nameless\nSUMMARY: x\n";
        let stacks = sanitizer_stacks(log);
        let headings: Vec<&str> = stacks.iter().map(|stack| stack.heading.as_str()).collect();
        assert_eq!(headings, ["", "freed by thread T0 here:", "previously allocated by thread T0 here:"]);
        assert_eq!(stacks[0].frames, [("/x/a.so".to_string(), 0x10), ("/x/b (1).so".to_string(), 0x20)]);
        assert_eq!(stacks[2].frames, [("/usr/lib/libasan.so".to_string(), 0xAA)]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            last_words(&text);
            abort_message(&text);
            sanitizer_kind(&text);
            sanitizer_stacks(&text);
        }
    }
}
