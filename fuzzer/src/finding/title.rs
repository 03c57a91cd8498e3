//! One line that says what a finding is.

use hitmap_wire::batch::notes::Death;

use super::function::short;
use super::identity::{Clues, Identity, Place, base, function_of};
use super::log;
use super::symbolize::Frame;

/// The line. `words` are what the target wrote to standard error.
pub fn of(identity: &Identity, clues: &Clues<'_>, exit_code: Option<i32>, words: &str) -> String {
    let exception = clues.exception.map(|exception| {
        let root = exception.causes.last().map(|root| format!(", raised from {}", root.title)).unwrap_or_default();
        format!("{}{root}", exception.title)
    });
    let line = match identity {
        Identity::Exception { at, .. } => format!("{}{}", exception.unwrap_or_default(), within(at)),
        Identity::Uncaught { at, .. } => {
            let thrown = clues.death.map(thrown).unwrap_or_default();
            let ended = exit_code.map(|code| format!(", exited with code {code}")).unwrap_or_default();
            format!("uncaught {thrown}{ended}{}", within(at))
        }
        Identity::Sanitizer { kind, at } if kind.is_empty() => format!("a sanitizer's report{}", within(at)),
        Identity::Sanitizer { kind, at } => format!("{kind}{}", within(at)),
        Identity::Signal { signal, at } => {
            let name = if *signal == 0 { "died".to_string() } else { signal_name(*signal) };
            let said = clues.death.and_then(|death| log::abort_message(&death.text));
            let said = said.or_else(|| (*signal == libc::SIGABRT).then(|| log::last_words(words)).flatten());
            format!("{name}{}{}", within(at), said.map(|said| format!(": {said}")).unwrap_or_default())
        }
        Identity::Overflow { cycle } => {
            let name =
                clues.sanitizer.clone().or_else(|| clues.signal.map(|s| format!("{}, stack overflow", signal_name(s))));
            format!("{}: {}", name.unwrap_or_else(|| "stack overflow".into()), around(cycle))
        }
        Identity::Hang { at } => format!("ran longer than the time limit{}", within(at)),
        Identity::Memory { at } => match (exception, clues.death.filter(|death| !death.thrown.is_empty())) {
            (Some(exception), _) => format!("{exception}{}", within(at)),
            (None, Some(death)) => format!("uncaught {}{}", thrown(death), within(at)),
            (None, None) => format!("used more memory than the limit{}", within(at)),
        },
        Identity::Exit { at } => {
            let code = exit_code.map_or_else(String::new, |code| format!(" with code {code}"));
            let exception = exception.map(|exception| format!(" by {exception}")).unwrap_or_default();
            format!("exited{code}{exception}{}", within(at))
        }
    };
    one_line(&line)
}

/// ` in f (a.cpp:3)`.
fn within(place: &Place) -> String {
    match place {
        Place::Nowhere => String::new(),
        Place::Python { frame, .. } => format!(" in {} ({}:{})", frame.function, base(&frame.file), frame.line),
        Place::Native { frame, callers, exact } => {
            let called = callers.iter().map(|caller| format!(", called by {}{}", name(caller), location(caller, true)));
            format!(" in {}{}{}", name(frame), location(frame, *exact), called.collect::<String>())
        }
    }
}

/// A function's name; where it has none, its library and where it begins there.
fn name(frame: &Frame) -> String {
    match frame.function.is_empty() {
        false => short(&frame.function),
        true => format!("{}+{}", base(&frame.module), function_of(frame)),
    }
}

/// The line; where there is none, how far into the function the place is.
fn location(frame: &Frame, exact: bool) -> String {
    if !frame.file.is_empty() && frame.line != 0 {
        return format!(" ({}:{})", base(&frame.file), frame.line);
    }
    if exact && frame.start != 0 { format!("+{:#x}", frame.offset.wrapping_sub(frame.start)) } else { String::new() }
}

/// `f → g → f`: who calls whom.
fn around(cycle: &[Frame]) -> String {
    let mut names: Vec<String> = cycle.iter().map(name).collect();
    match names.as_slice() {
        [] => "an endless recursion".into(),
        [one] => format!("{one} calls itself"),
        [first, ..] => {
            names.push(first.clone());
            names.join(" → ")
        }
    }
}

/// `std::runtime_error: stack underflow`.
fn thrown(death: &Death) -> String {
    let kind = if death.thrown.is_empty() { "C++ exception".to_string() } else { demangled_type(&death.thrown) };
    // The standard library's own exceptions say their name.
    if death.text.is_empty() || death.text == kind { kind } else { format!("{kind}: {}", death.text) }
}

/// A type's name as its `type_info` has it, readable.
fn demangled_type(name: &str) -> String {
    hitmap_observers::places::demangled(&format!("_ZTS{name}"))
        .strip_prefix("typeinfo name for ")
        .map_or_else(|| name.to_string(), String::from)
}

/// A signal's name.
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGSYS => "SIGSYS",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTERM => "SIGTERM",
        libc::SIGALRM => "SIGALRM",
        libc::SIGHUP => "SIGHUP",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        _ => return format!("signal {signal}"),
    };
    name.to_string()
}

/// What an exception says can hold whatever the input held: escapes for the terminal, line ends,
/// megabytes.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 240;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_one_short_line() {
        assert_eq!(one_line("a\n\x1b[31mb"), "a  [31mb");
        assert_eq!(one_line(&"x".repeat(5_000_000)).chars().count(), 241);
    }

    #[test]
    fn types_are_readable() {
        for (mangled, name) in
            [("St13runtime_error", "std::runtime_error"), ("i", "int"), ("N2ns1EE", "ns::E"), ("?", "?")]
        {
            assert_eq!(demangled_type(mangled), name);
        }
    }
}
