//! A C++ function's name, without what makes it unreadable.
//!
//! Demangled names carry template arguments, parameters, return types and compilers' notes. Titles, stacks
//! and signatures want the qualified name alone. A template's instances then have one name, which is what a
//! person would call them.

/// Longest name in a title, in characters.
const LONGEST: usize = 100;

/// The qualified name: no parameters, no template arguments, no return type, no `(anonymous namespace)`.
///
/// `int ns::read<char>(char const*) [clone .cold]` is `ns::read`; a lambda keeps `{lambda}`.
pub fn qualified(function: &str) -> String {
    let name = function.split(" [clone").next().unwrap_or(function);
    let name = name.replace("(anonymous namespace)::", "").replace("[abi:cxx11]", "");
    let bare = without_arguments(&name);
    let bare = bare.trim();
    let bare = bare.strip_suffix(" const").unwrap_or(bare);
    // A template's name begins with its return type; an operator's may hold a space.
    let from = match bare.find("operator") {
        Some(at) => bare[..at].rfind(' ').map_or(0, |space| space + 1),
        None => bare.rfind(' ').map_or(0, |space| space + 1),
    };
    let name = bare[from..].trim_start_matches(['*', '&']);
    for suffix in [".cold", ".part", ".isra", ".constprop", ".lto_priv", ".llvm"] {
        if let Some(at) = name.find(suffix) {
            return name[..at].to_string();
        }
    }
    name.to_string()
}

/// The qualified name, cut where it is too long for a line.
pub fn short(function: &str) -> String {
    let name = qualified(function);
    let mut short: String = name.chars().take(LONGEST).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    short
}

/// Drops what stands in `<>` and `()`, except in an operator's own name. `{lambda(int)#1}` becomes `{lambda}`.
fn without_arguments(name: &str) -> String {
    let (mut out, mut rest, mut depth) = (String::new(), name, 0usize);
    while let Some(c) = rest.chars().next() {
        if depth == 0
            && let Some(symbol) = operator_at(&out, rest)
        {
            out.push_str(symbol);
            rest = &rest[symbol.len()..];
            continue;
        }
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            '#' if depth == 0 => {
                // The number of a lambda or of an unnamed type.
                let end = rest.find('}').unwrap_or(rest.len());
                rest = &rest[end..];
                continue;
            }
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// The symbol of an operator that `rest` begins with, when `out` ends with the word.
fn operator_at<'a>(out: &str, rest: &'a str) -> Option<&'a str> {
    let before = out.strip_suffix("operator")?;
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    const SYMBOLS: [&str; 10] = ["()", "<<=", ">>=", "<=>", "<<", ">>", "<=", ">=", "->*", "->"];
    let long = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).map(|symbol| symbol.len());
    let len = long.or((rest.starts_with('<') || rest.starts_with('>')).then_some(1))?;
    Some(&rest[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_a_functions_name_alone() {
        for (function, name) in [
            ("depth(std::__cxx11::basic_string<char, std::char_traits<char> > const&)", "depth"),
            ("toml::(anonymous namespace)::parser<int (*)(char)>::parse(char const*) const", "toml::parser::parse"),
            ("ns::Reader::operator()(int) const", "ns::Reader::operator()"),
            ("std::vector<int, std::allocator<int> >::operator[](unsigned long)", "std::vector::operator[]"),
            ("bool operator< <int>(A<int> const&, A<int> const&)", "operator<"),
            ("std::ostream& ns::operator<<(std::ostream&, ns::A const&)", "ns::operator<<"),
            ("A::operator bool() const", "A::operator bool"),
            ("A::operator->() const", "A::operator->"),
            ("JSON_EncodeObject", "JSON_EncodeObject"),
            ("int ns::read<char>(char const*) [clone .cold]", "ns::read"),
            ("parse.part.0", "parse"),
            ("std::string f[abi:cxx11](int)", "f"),
            (
                "void pybind11::cpp_function::initialize<f>(f&&)::{lambda(pybind11::detail::function_call&)#3}::operator()(pybind11::detail::function_call&) const",
                "pybind11::cpp_function::initialize::{lambda}::operator()",
            ),
            ("pybind11_init_m(pybind11::module_&)::$_0::operator()(int) const", "pybind11_init_m::$_0::operator()"),
            ("my_operator(int)", "my_operator"),
            ("a::b<(a::c)1>::d()", "a::b::d"),
            ("decltype(auto) a::visit<int>(int)", "a::visit"),
            ("", ""),
        ] {
            assert_eq!(qualified(function), name, "{function}");
        }
        assert_eq!(short(&"x".repeat(200)).chars().count(), LONGEST + 1);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = short(&text);
        }
    }
}
