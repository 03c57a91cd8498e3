//! A comparison build in a real process: what the library compares reaches the log in the region.

use std::path::PathBuf;

use hitmap_wire::comparisons::{
    Comparison, ENTRIES, INTEGER, LEFT_CONSTANT, MEMORY, PER_SITE, RIGHT_CONSTANT, STRING, SWITCH,
};

use crate::fixture::{Bench, INLINE, Shared, clang, linkers, ok, runtime, stub_folder, with, with_path};

const NO_BUILTIN: [&str; 9] = [
    "-fno-builtin-memcmp",
    "-fno-builtin-bcmp",
    "-fno-builtin-strcmp",
    "-fno-builtin-strncmp",
    "-fno-builtin-strcasecmp",
    "-fno-builtin-strncasecmp",
    "-fno-builtin-strstr",
    "-fno-builtin-strcasestr",
    "-fno-builtin-memmem",
];

/// How a library is built.
#[derive(Clone, Copy)]
struct How<'a> {
    level: &'a str,
    linker: &'a [String],
    stubs: bool,
}

const O1: How<'static> = How { level: "-O1", linker: &[], stubs: true };

/// `f0`, `f1`, ... do what the bodies say, in C++.
fn library(bench: &Bench, bodies: &[&str], how: How<'_>) -> PathBuf {
    let (source, object, out) = (bench.at("a", "cc"), bench.at("a", "o"), bench.at("a", "so"));
    let mut text = String::from(
        "#include <cstdint>\n#include <cstring>\n#include <map>\n#include <stdexcept>\n#include <string>\n\
         #include <string_view>\n#include <sys/mman.h>\nvolatile int sink;\n\
         #define OPAQUE(x) ({ auto opaque = (x); __asm__ volatile(\"\" : \"+r\"(opaque)); opaque; })\n\
         #define HIDE(x) __asm__ volatile(\"\" : : \"r\"(&(x)) : \"memory\")\n",
    );
    for (i, body) in bodies.iter().enumerate() {
        text.push_str(&format!("extern \"C\" void f{i}() {{ {body} }}\n"));
    }
    std::fs::write(&source, text).unwrap();
    let mut compile = clang();
    compile.args(["-std=c++17", how.level, "-fPIC", "-D_GNU_SOURCE", "-c", INLINE, "-fsanitize-coverage=trace-cmp"]);
    ok(compile.args(NO_BUILTIN).arg(&source).arg("-o").arg(&object));
    let mut link = clang();
    link.args(["--driver-mode=g++", "-shared"]).args(how.linker).arg(&object).arg("-o").arg(&out);
    if how.stubs {
        let folder = stub_folder();
        for name in ["hitmap_stub", "hitmap_comparisons"] {
            let stub = bench.at(name, "o");
            let mut cc = clang();
            cc.args(["-O2", "-fPIC", "-fno-builtin", "-Wall", "-Wextra", "-Werror", "-c"]);
            ok(cc.arg(folder.join(name).with_extension("c")).arg("-o").arg(&stub));
            link.arg(stub);
        }
        link.arg(with_path("-Wl,-T,", &folder.join("isolate.ld")));
        link.arg(with_path("-Wl,@", &folder.join("comparisons.args")));
    }
    ok(&mut link);
    out
}

/// What each body logs.
fn all_logged(bodies: &[&str], how: How<'_>) -> Vec<Vec<Comparison>> {
    let bench = Bench::new();
    let lib = library(&bench, bodies, how);
    let log = |i| {
        let shared = Shared::new(100_000, 0);
        shared.region.comparisons().set_on(true);
        let commands = [with("rt", &runtime()), with("open", &lib), format!("call 0 {i} 1")];
        let ran = bench.run_with(&commands, Some(&shared.variable));
        // Without the stub counters share pages with other data, which the runtime tells.
        assert!(!how.stubs || ran.stderr.is_empty(), "{}", ran.stderr);
        shared.region.comparisons().entries()
    };
    (0..bodies.len()).map(log).collect()
}

fn logged(body: &str, how: How<'_>) -> Vec<Comparison> {
    all_logged(&[body], how).remove(0)
}

/// A body, and the one comparison that it must log, whichever side the compiler puts where.
type Row<'a> = (&'a str, u8, &'a [u8], &'a [u8]);

/// Each row's body, put in place of `BODY`, logs its comparison at every level of optimisation.
#[track_caller]
fn check(around: &str, rows: &[Row<'_>]) {
    let bodies: Vec<String> = rows.iter().map(|row| around.replace("BODY", row.0)).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    for level in ["-O1", "-O2", "-O3"] {
        let found = all_logged(&bodies, How { level, ..O1 });
        for ((body, kind, left, right), found) in rows.iter().zip(found) {
            let sides =
                |c: &Comparison| [(c.left().to_vec(), c.right().to_vec()), (c.right().to_vec(), c.left().to_vec())];
            let this = |c: &&Comparison| c.kind == *kind && sides(c).contains(&(left.to_vec(), right.to_vec()));
            assert_eq!(found.iter().filter(this).count(), 1, "{level} {body}: {found:?}");
        }
    }
}

#[test]
fn integers_of_every_width_are_logged_as_wide_as_they_are() {
    check(
        "if (BODY) sink = 1; else sink = 2;",
        &[
            ("OPAQUE((uint8_t)0x11) == 0x22", INTEGER, &[0x11], &[0x22]),
            ("OPAQUE((uint16_t)0x1122) == 0x3344", INTEGER, &[0x22, 0x11], &[0x44, 0x33]),
            ("OPAQUE(-2) == 7", INTEGER, &[0xFE, 0xFF, 0xFF, 0xFF], &[7, 0, 0, 0]),
            ("OPAQUE(1ull << 40) < 77", INTEGER, &[0, 0, 0, 0, 0, 1, 0, 0], &[77, 0, 0, 0, 0, 0, 0, 0]),
            ("OPAQUE(5u) == OPAQUE(6u)", INTEGER, &[5, 0, 0, 0], &[6, 0, 0, 0]),
        ],
    );
}

#[test]
fn memory_and_string_compares_are_logged() {
    check(
        "char t[] = \"subject\"; HIDE(t); if (BODY) sink = 1; else sink = 2;",
        &[
            ("memcmp(t, \"abcd\", 4) == 0", MEMORY, b"subj", b"abcd"),
            ("memcmp(t, \"subjugate\", 7) < 0", MEMORY, b"subject", b"subjuga"),
            ("bcmp(t, \"ab\", 2)", MEMORY, b"su", b"ab"),
            ("strcmp(t, \"ab\") == 0", STRING, b"subject", b"ab"),
            ("strcmp(t, \"\") == 0", STRING, b"subject", b""),
            ("strncmp(t, \"GET /\", 4) == 0", STRING, b"subj", b"GET "),
            ("strcasecmp(t, \"SUBJECTION\") == 0", STRING, b"subject", b"SUBJECTION"),
            ("strncasecmp(t, \"SUBZERO\", 5) == 0", STRING, b"subje", b"SUBZE"),
            ("strstr(t, \"needle\")", STRING, b"subject", b"needle"),
            ("strcasestr(t, \"needle\")", STRING, b"subject", b"needle"),
            ("memmem(t, 7, \"nee\", 3)", MEMORY, b"subject", b"nee"),
        ],
    );
}

#[test]
fn what_std_string_compares_is_logged() {
    check(
        "std::string s = \"subject\", t = \"another\"; HIDE(s); HIDE(t); std::string_view v = s; HIDE(v);\
         if (BODY) sink = 1; else sink = 2;",
        &[
            ("s == \"literal\"", MEMORY, b"subject", b"literal"),
            ("s != \"literal of another length\"", MEMORY, b"subject", b"literal of another length"),
            ("s == t", MEMORY, b"subject", b"another"),
            ("s < t", MEMORY, b"subject", b"another"),
            ("s.compare(\"lit\") > 0", MEMORY, b"subject", b"lit"),
            ("s.compare(3, 4, \"lit\") > 0", MEMORY, b"ject", b"lit"),
            ("s.compare(0, 3, \"literal\", 3) > 0", MEMORY, b"sub", b"lit"),
            ("s.compare(0, 3, t) > 0", MEMORY, b"sub", b"another"),
            ("s.compare(t) > 0", MEMORY, b"subject", b"another"),
            ("s.find(\"needle\") != s.npos", MEMORY, b"subject", b"needle"),
            ("s.rfind(\"needle\", 0) == 0", MEMORY, b"subject", b"needle"),
            ("v == \"literal\"", MEMORY, b"subject", b"literal"),
            ("v.substr(0, 3) == \"lit\"", MEMORY, b"sub", b"lit"),
            ("(std::map<std::string, int>{{\"another\", 1}}).count(s)", MEMORY, b"another", b"subject"),
        ],
    );
}

#[test]
fn strings_answer_as_before() {
    let body = "std::string s = \"subject\", e; HIDE(s); HIDE(e);\
        int ok = s == \"subject\" && s != \"subjec\" && s.compare(\"subjects\") < 0 && s.compare(3, 99, \"ject\") == 0\
          && s.compare(7, 1, \"\") == 0 && e == \"\" && e.compare(s) < 0 && s.compare(0, 3, s, 0, 3) == 0\
          && s.find(\"j\") == 3 && s.find(\"\") == 0 && s.find(\"\", 7) == 7 && s.find(\"\", 8) == s.npos\
          && s.find(\"s\", 1) == s.npos && s.rfind(\"s\") == 0 && s.rfind(\"\") == 7 && s.rfind(\"t\", 0) == s.npos\
          && s.rfind(\"subject and more\") == s.npos && e.rfind(\"\") == 0;\
        try { s.compare(8, 1, \"x\"); ok = 0; }\
        catch (const std::out_of_range &error) { ok &= !strncmp(error.what(), \"basic_string::compare\", 21); }\
        if (!ok) __builtin_trap();";
    for level in ["-O1", "-O3"] {
        assert!(!logged(body, How { level, ..O1 }).is_empty());
    }
}

#[test]
fn a_switch_over_wide_constants_logs_its_cases() {
    let body = "switch (OPAQUE(0x99ull)) { case 0x1122334455667788: sink = 1; break; case 0xdeadbeefcafe: sink = 2; break; \
                case 77777777777: sink = 3; break; case 5: sink = 4; break; }";
    let found = logged(body, O1);
    let cases: Vec<u64> = (found.iter().filter(|c| c.kind == SWITCH))
        .map(|c| {
            assert_eq!((c.constant, c.left()), (RIGHT_CONSTANT, &0x99u64.to_le_bytes()[..]));
            u64::from_le_bytes(c.right().try_into().unwrap())
        })
        .collect();
    assert_eq!(cases, [5, 77_777_777_777, 0xdead_beef_cafe, 0x1122_3344_5566_7788]);
}

#[test]
fn what_is_equal_or_small_is_left_out() {
    let bodies = [
        "if (OPAQUE(7) == 7) sink = 1; else sink = 2;",
        "char t[] = \"same\"; HIDE(t); if (!strcmp(t, \"same\")) sink = 1; else sink = 2;",
        "switch (OPAQUE('x')) { case 'a': sink = 1; break; case 'b': sink = 9; break; case 'p': sink = 3; break; \
         case 'q': sink = 2; break; case 'z': sink = 77; break; }",
    ];
    assert_eq!(all_logged(&bodies, O1), [[], [], []]);
}

#[test]
fn the_compilers_constant_is_on_the_left() {
    let found = logged("if (OPAQUE(7) == 9) sink = 1; else sink = 2;", O1);
    assert_eq!((found.len(), found[0].constant, found[0].left()[0]), (1, LEFT_CONSTANT, 9));
}

#[test]
fn a_loop_gets_its_share_and_a_full_log_stays_whole() {
    let body = "for (int i = 0; i < 100000; i++) if (OPAQUE(i) == 0x12345) sink = 1; else sink = 2;";
    let found = logged(body, O1);
    let of_constant = found.iter().filter(|c| c.left() == 0x12345u32.to_le_bytes()).count();
    assert_eq!(of_constant, usize::from(PER_SITE));
    let many: String =
        (0..2000).map(|i| format!("if (OPAQUE(i) == {}) sink = {i}; else sink = 2;", 1_000_000 + i)).collect();
    let found = logged(&format!("for (int i = 0; i < 64; i++) {{ {many} }}"), O1);
    assert_eq!(found.len(), ENTRIES);
}

#[test]
fn nothing_is_read_past_the_page_that_the_compare_read() {
    // The last byte before a page that may not be read is '/', and no operand has a terminator.
    check(
        "char *two = (char *)mmap(0, 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); mprotect(two + 4096, 4096, 0);\
         char *end = two + 4096; memcpy(end - 3, \"ab/\", 3); HIDE(end); if (BODY) sink = 1; else sink = 2;",
        &[
            ("strncmp(end - 3, \"GET /index\", 10)", STRING, b"ab/", b"GET /index"),
            ("strcmp(end - 3, \"x\")", STRING, b"ab/", b"x"),
            ("strcasecmp(\"abc\", end - 3)", STRING, b"abc", b"ab/"),
            ("memcmp(end - 3, \"abc\", 3)", MEMORY, b"ab/", b"abc"),
        ],
    );
}

#[test]
fn the_log_is_silent_until_it_is_asked_and_without_a_runtime() {
    let bench = Bench::new();
    let lib = library(&bench, &["if (OPAQUE(7) == 9) sink = 1; else sink = 2;"], O1);
    let shared = Shared::new(100_000, 0);
    bench.run_with(&[with("rt", &runtime()), with("open", &lib), "call 0 0 1".into()], Some(&shared.variable));
    assert_eq!(shared.region.comparisons().entries(), []);
    assert_eq!(bench.run(&[with("open", &lib), "call 0 0 1".into()]).stderr, "");
    // A runtime that comes later tells the library where the log is.
    shared.region.comparisons().set_on(true);
    bench.run_with(&[with("open", &lib), with("rt", &runtime()), "call 0 0 1".into()], Some(&shared.variable));
    assert_eq!(shared.region.comparisons().entries().len(), 1);
}

#[test]
fn prebuilt_objects_log_through_the_shared_runtime() {
    let body = "if (OPAQUE((uint16_t)0x1122) == 0x3344) sink = 1; else sink = 2; \
                switch (OPAQUE(7ull)) { case 1ull << 40: sink = 1; break; case 3ull << 40: sink = 3; break; case 5: sink = 8; }";
    let found = logged(body, How { stubs: false, ..O1 });
    let short: Vec<_> = found.iter().map(|c| (c.kind, c.constant, c.left_len, c.left[0], c.right[5])).collect();
    assert_eq!(short[0], (INTEGER, LEFT_CONSTANT, 2, 0x44, 0));
    assert_eq!(
        short[1..],
        [(SWITCH, RIGHT_CONSTANT, 8, 7, 0), (SWITCH, RIGHT_CONSTANT, 8, 7, 1), (SWITCH, RIGHT_CONSTANT, 8, 7, 3)]
    );
    assert!(found.iter().all(|c| c.site != 0) && found[0].site != found[1].site);
}

#[test]
fn every_linker_puts_the_wrappers_in_place() {
    for linker in linkers() {
        let body = "std::string s = \"subject\"; HIDE(s); if (s == \"abc\") sink = 1; else sink = memcmp(s.data(), \"xyz\", 3);";
        let found = logged(body, How { level: "-O2", linker: &linker, ..O1 });
        let rights: Vec<&[u8]> = found.iter().filter(|c| c.kind == MEMORY).map(Comparison::right).collect();
        assert_eq!(rights, [b"abc", b"xyz"], "{linker:?}");
    }
}

#[test]
fn a_library_in_c_needs_no_cxx() {
    let bench = Bench::new();
    let (source, out) = (bench.at("c", "c"), bench.at("c", "so"));
    std::fs::write(&source, "#include <string.h>\nint f0(const char *t) { return !strcmp(t, \"x\"); }\n").unwrap();
    let folder = stub_folder();
    let mut cc = clang();
    cc.args(["-O2", "-fPIC", "-shared", "-Wl,--no-undefined", "-fsanitize-coverage=trace-cmp", INLINE])
        .args(NO_BUILTIN);
    cc.arg(&source).arg(folder.join("hitmap_stub.c")).arg(folder.join("hitmap_comparisons.c"));
    cc.arg(with_path("-Wl,-T,", &folder.join("isolate.ld"))).arg(with_path("-Wl,@", &folder.join("comparisons.args")));
    ok(cc.arg("-o").arg(&out));
    assert_eq!(bench.run(&[with("open", &out)]).stderr, "");
}
