//! Whose code a frame is: the library's, or that of somebody below, above or between.
//!
//! Only the library's own code names a bug. A crash in `Py_DECREF`, in `std::vector::operator[]` or in
//! pybind11's dispatcher is a bug of whoever called it. The tables here say which files, headers and
//! functions belong to others. Knows nothing of signatures.

use serde::{Deserialize, Serialize};

use super::function;
use super::symbolize::Frame;

/// Whose code a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// A library's own code, instrumented or not.
    #[default]
    Library,
    /// A header that the library only includes: the compiler's, the system's, another package's.
    Header,
    /// pybind11, nanobind, Boost.Python, Cython's and cffi's glue.
    Binding,
    /// CPython and its standard library.
    Interpreter,
    /// The C and C++ libraries, the loader, sanitizers' runtimes.
    System,
    /// hitmap itself.
    Hitmap,
}

impl Owner {
    /// What a folded run of such frames is called.
    pub fn name(self) -> &'static str {
        match self {
            Owner::Library => "the library",
            Owner::Header => "included headers",
            Owner::Binding => "the binding",
            Owner::Interpreter => "the Python interpreter",
            Owner::System => "system libraries",
            Owner::Hitmap => "hitmap",
        }
    }
}

/// Starts of file names of libraries that every process has.
const SYSTEM_FILES: [&str; 17] = [
    "libc.so",
    "libc-",
    "libstdc++.",
    "libgcc_s",
    "libpthread",
    "ld-linux",
    "ld-musl",
    "libc++.",
    "libc++abi.",
    "libm.so",
    "libm-",
    "libdl",
    "librt.so",
    "linux-vdso",
    "libclang_rt.",
    "libasan.",
    "libubsan.",
];

/// Starts of file names of CPython.
const INTERPRETER_FILES: [&str; 3] = ["libpython", "python3", "python"];

/// Starts of file names of bindings' own libraries.
const BINDING_FILES: [&str; 4] = ["libboost_python", "libnanobind", "_cffi_backend.", "libffi."];

/// Folders of bindings' headers and sources, wherever they lie.
const BINDING_FOLDERS: [&str; 3] = ["/pybind11/", "/nanobind/", "/boost/python/"];

/// Folders of headers that are the compiler's or the system's.
const SYSTEM_FOLDERS: [&str; 8] = [
    "/usr/include/",
    "/usr/local/include/",
    "/usr/lib/",
    "/usr/local/lib/",
    "/include/c++/",
    "/lib/clang/",
    "/lib/gcc/",
    "/lib64/gcc/",
];

/// Folders that hold what package managers installed; only what lies below an `include` is a header.
const PACKAGE_FOLDERS: [&str; 4] = ["/site-packages/", "/dist-packages/", "/envs/", "/conda"];

/// Namespaces of code that comes by headers, for frames without a file.
const HEADER_NAMESPACES: [&str; 7] =
    ["std::", "__gnu_cxx::", "__cxxabiv1::", "boost::", "fmt::", "Eigen::", "__gnu_debug::"];
const BINDING_NAMESPACES: [&str; 4] = ["pybind11::", "nanobind::", "boost::python::", "nb::detail::"];

/// Starts of names of functions that the compiler, the C++ runtime, or a sanitizer puts into any library.
const SYSTEM_FUNCTIONS: [&str; 17] = [
    "__clang_call_terminate",
    "__cxa_",
    "_Unwind_",
    "__gxx_personality",
    "__stack_chk_fail",
    "__assert",
    "__ubsan_",
    "__asan_",
    "__interceptor_",
    "__sanitizer_",
    "__lsan_",
    "__interception",
    "__libc_",
    "__restore_rt",
    "operator new",
    "operator delete",
    "_dl_",
];

/// Starts of names of functions of hitmap's stub.
const HITMAP_FUNCTIONS: [&str; 5] = ["hitmap_", "__hitmap_", "__sanitizer_cov_", "__wrap_", "sancov."];

/// Starts of names of what Cython puts around the user's functions.
const CYTHON_GLUE: [&str; 4] = ["__Pyx_", "__pyx_pw_", "__Pyx", "__pyx_pymod_"];

/// Whose code it is.
pub fn of(frame: &Frame) -> Owner {
    match of_module(frame) {
        Owner::Library => of_source(frame),
        other => other,
    }
}

/// By the name of the library's file. One that is instrumented is what the user set out to test, whatever
/// it is called.
fn of_module(frame: &Frame) -> Owner {
    let path = frame.module.as_str();
    let name = path.rsplit('/').next().unwrap_or(path);
    let starts = |all: &[&str]| all.iter().any(|start| name.starts_with(start));
    if frame.instrumented {
        return Owner::Library;
    }
    if path.contains("/hitmap/_rt/") || path.contains("/hitmap/_native.") {
        return Owner::Hitmap;
    }
    if starts(&SYSTEM_FILES) {
        return Owner::System;
    }
    if path.is_empty() || starts(&INTERPRETER_FILES) || path.contains("/lib-dynload/") {
        return Owner::Interpreter;
    }
    if starts(&BINDING_FILES) { Owner::Binding } else { Owner::Library }
}

/// By where the source lies; where that is not known, by the function's name.
fn of_source(frame: &Frame) -> Owner {
    let file = frame.file.as_str();
    let bare = function::qualified(&frame.function);
    let starts = |all: &[&str]| all.iter().any(|start| bare.starts_with(start));
    if starts(&HITMAP_FUNCTIONS) {
        return Owner::Hitmap;
    }
    if starts(&SYSTEM_FUNCTIONS) || bare == "abort" || bare == "raise" || bare == "std::terminate" {
        return Owner::System;
    }
    if starts(&CYTHON_GLUE) || BINDING_FOLDERS.iter().any(|folder| file.contains(folder)) {
        return Owner::Binding;
    }
    if file.is_empty() {
        return match () {
            () if starts(&BINDING_NAMESPACES) => Owner::Binding,
            () if starts(&HEADER_NAMESPACES) => Owner::Header,
            () => Owner::Library,
        };
    }
    let is_python = file.rfind("/include/python3").is_some();
    let is_package = PACKAGE_FOLDERS.iter().any(|folder| file.contains(folder)) && file.contains("/include/");
    let is_system = SYSTEM_FOLDERS.iter().any(|folder| file.contains(folder));
    if is_python || is_package || is_system || frame.is_foreign { Owner::Header } else { Owner::Library }
}

/// Whether a Python file is the user's or a package's, and not the standard library's or hitmap's.
pub fn is_users_python(file: &str) -> bool {
    let is_frozen = file.starts_with('<') && file != "<string>" && file != "<stdin>";
    let is_installed = file.contains("/site-packages/") || file.contains("/dist-packages/");
    let is_standard = !is_installed && file.rsplit_once("/lib/python3").is_some_and(|(_, rest)| rest.contains('/'));
    !is_frozen && !is_standard && !is_hitmaps_python(file)
}

/// Whether a Python file is part of what runs a harness: hitmap's own, or the interpreter's start.
pub fn is_plumbing(file: &str) -> bool {
    is_hitmaps_python(file) || file.starts_with("<frozen ")
}

/// Whether a Python file is one of hitmap's own.
pub fn is_hitmaps_python(file: &str) -> bool {
    let Some((_, name)) = file.rsplit_once("/hitmap/") else { return false };
    name == "worker.py"
        || name == "coverage.py"
        || (name.starts_with('_') && name.ends_with(".py") && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_known_by_file_header_and_name() {
        use Owner::*;
        let table = [
            // module, instrumented, function, source file, whose
            ("/v/lib.so", true, "f()", "/s/lib.cpp", Library),
            ("/v/lib.so", false, "f()", "", Library),
            ("/v/libc-client.so", true, "f", "/s/a.c", Library),
            ("/v/_native.cpython-311-x86_64-linux-gnu.so", true, "f", "/s/a.c", Library),
            ("/v/_native.cpython-311-x86_64-linux-gnu.so", false, "f", "", Library),
            ("/v/hitmap/_native.abi3.so", false, "f", "", Hitmap),
            ("/v/hitmap/_rt/libhitmap_rt.so", false, "f", "", Hitmap),
            ("/lib/x86_64-linux-gnu/libc.so.6", false, "abort", "", System),
            ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", false, "std::__throw_out_of_range(char const*)", "", System),
            ("", false, "PyObject_Call", "", Interpreter),
            ("/usr/bin/python3.11", false, "PyObject_Call", "", Interpreter),
            ("/usr/lib/libpython3.12.so.1.0", false, "PyObject_Call", "", Interpreter),
            ("/p/lib/python3.11/lib-dynload/_ctypes.cpython-311.so", false, "x", "", Interpreter),
            ("/usr/lib/libboost_python311.so.1.74.0", false, "boost::python::objects::function::call", "", Binding),
            ("/v/lib.so", true, "_Py_DECREF", "/root/.pyenv/versions/3.11.7/include/python3.11/object.h", Header),
            ("/v/lib.so", true, "Py_DECREF", "/usr/include/python3.11/object.h", Header),
            (
                "/v/lib.so",
                true,
                "std::vector<int>::operator[](unsigned long)",
                "/usr/lib/gcc/x86_64-linux-gnu/12/../../../../include/c++/12/bits/stl_vector.h",
                Header,
            ),
            ("/v/lib.so", true, "std::vector<int, std::allocator<int> >::operator[](unsigned long)", "", Header),
            ("/v/lib.so", true, "void std::sort<int*>(int*, int*)", "", Header),
            ("/v/lib.so", true, "x", "/usr/include/eigen3/Eigen/Core", Header),
            ("/v/lib.so", true, "x", "/v/lib/python3.11/site-packages/pybind11/include/pybind11/pybind11.h", Binding),
            ("/v/lib.so", true, "x", "/s/third_party/pybind11/include/pybind11/cast.h", Binding),
            ("/v/lib.so", true, "x", "/v/site-packages/nanobind/src/nb_func.cpp", Binding),
            ("/v/lib.so", true, "x", "/usr/include/boost/python/detail/invoke.hpp", Binding),
            ("/v/lib.so", true, "pybind11::cpp_function::dispatcher(_object*, _object*, _object*)", "", Binding),
            ("/v/lib.so", true, "x", "/v/lib/python3.11/site-packages/numpy/core/include/numpy/ndarraytypes.h", Header),
            ("/v/lib.so", true, "x", "/opt/conda/envs/a/include/fmt/core.h", Header),
            ("/v/lib.so", true, "own(int)", "/s/include/own/own.h", Library),
            ("/v/lib.so", true, "own(int)", "/s/../src/own.h", Library),
            ("/v/lib.so", true, "__Pyx_PyObject_Call(_object*)", "/s/m.cpp", Binding),
            ("/v/lib.so", true, "__pyx_pw_1m_3go", "/s/m.cpp", Binding),
            ("/v/lib.so", true, "__pyx_pf_1m_2go", "/s/m.cpp", Library),
            ("/v/lib.so", true, "__clang_call_terminate", "", System),
            ("/v/lib.so", true, "__ubsan_handle_add_overflow_abort", "", System),
            ("/v/lib.so", true, "std::terminate()", "", System),
            ("/v/lib.so", true, "hitmap_stub_join", "/x/hitmap_stub.c", Hitmap),
        ];
        for (module, instrumented, function, file, owner) in table {
            let (module, function, file) = (module.into(), function.into(), file.into());
            let frame = Frame { module, instrumented, function, file, ..Frame::default() };
            assert_eq!(of(&frame), owner, "{frame:?}");
        }
    }

    #[test]
    fn python_files_have_owners() {
        for (file, is_users, is_hitmaps) in [
            ("/work-of-mine/h.py", true, false),
            ("/v/lib/python3.11/site-packages/lib/__init__.py", true, false),
            ("/v/lib/python3.11/json/decoder.py", false, false),
            ("/usr/lib/python3/dist-packages/x.py", true, false),
            ("<frozen runpy>", false, false),
            ("<string>", true, false),
            ("/v/lib/python3.11/site-packages/hitmap/worker.py", false, true),
            ("/v/lib/python3.11/site-packages/hitmap/_harness.py", false, true),
            ("/work-of-mine/hitmap/harness.py", true, false),
        ] {
            assert_eq!((is_users_python(file), is_hitmaps_python(file)), (is_users, is_hitmaps), "{file}");
        }
    }
}
