//! Which library a module is, whatever its build: where it lies below the folder it is imported from.
//!
//! Many packages have a `_core.so`, so a file's name alone names no library. What tells one library from
//! another is its path below that folder, and where the folder itself lies does not matter:
//! `pa/_core.so` is one library in every virtual environment, and not `pb/_core.so`. Two modules of one
//! library with different identities are two builds of it. Owns that rule; reads nothing but whether
//! folders are packages.

use std::path::Path;

use super::ModuleId;

/// Folders that packages are installed into; what lies below one is imported by that path.
const PACKAGES: [&str; 2] = ["site-packages", "dist-packages"];
/// Holds a folder for each kind of build beside the ordinary one; what lies below that is imported.
const BESIDE: &str = ".hitmap";

/// Where a file lies below the folder it is imported from; empty when that is no more than its name, or
/// follows from the path as [`ModuleId::library`] reads it. `roots` are folders that are known to be imported
/// from, such as those of `sys.path`.
pub fn below_root<P: AsRef<Path>>(path: &str, roots: &[P]) -> String {
    if installed(path).is_some() {
        return String::new();
    }
    let file = Path::new(path);
    let Some(folder) = file.parent().filter(|folder| file.is_absolute() && !folder.as_os_str().is_empty()) else {
        return String::new();
    };
    let package = |folder: &&Path| folder.join("__init__.py").exists();
    // Above the outermost package, or the file's own folder.
    let above = folder.ancestors().find(|folder| !package(folder)).unwrap_or(folder);
    let roots = roots.iter().map(AsRef::as_ref).filter(|root| !root.as_os_str().is_empty());
    let root = roots.filter(|root| above.starts_with(root)).max_by_key(|root| root.components().count());
    let below = file.strip_prefix(root.unwrap_or(above)).unwrap_or(file).to_string_lossy().into_owned();
    if below.contains('/') { below } else { String::new() }
}

/// The part of a path below the folder of installed packages.
fn installed(path: &str) -> Option<&str> {
    let (mut at, mut found, mut beside) = (0, None, false);
    for part in path.split('/') {
        at += part.len() + 1;
        if PACKAGES.contains(&part) || beside {
            found = path.get(at..);
        }
        beside = part == BESIDE;
    }
    found.filter(|below| !below.is_empty())
}

/// A file's path without the part of its name that says for which Python it was compiled.
fn untagged(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let is_tag =
        |tag: &str| tag == "abi3" || tag.starts_with("abi3-") || tag.starts_with("cpython-") || tag.starts_with("pypy");
    let untagged = match name.strip_suffix(".so").and_then(|name| name.rsplit_once('.')) {
        Some((module, tag)) if is_tag(tag) && !module.is_empty() => format!("{module}.so"),
        _ => name.to_owned(),
    };
    if folder.is_empty() { untagged } else { format!("{folder}/{untagged}") }
}

impl ModuleId {
    /// Its path below the folder that it is imported from; its name when that is all that is known.
    pub fn label(&self) -> &str {
        let below = if self.below.is_empty() { installed(&self.path) } else { Some(self.below.as_str()) };
        below.filter(|_| !self.name.is_empty()).unwrap_or(&self.name)
    }

    /// What names the library on every machine and in every build: its [`ModuleId::label`] without Python's
    /// version. Empty for a module without a name: a program has none to the loader.
    pub fn library(&self) -> String {
        untagged(self.label())
    }

    /// Whether both are one library, of whichever build.
    pub fn is_same_library(&self, other: &ModuleId) -> bool {
        let named = !self.name.is_empty() && !other.name.is_empty();
        named && (self.path == other.path || self.library() == other.library())
    }

    /// Notes where it lies below the folder that it is imported from: one of `roots`, or what the packages
    /// around it show.
    #[must_use]
    pub fn imported_from<P: AsRef<Path>>(mut self, roots: &[P]) -> ModuleId {
        self.below = below_root(&self.path, roots);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hitmap_wire::identity::Identity;

    fn id(path: &str, below: &str) -> ModuleId {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        ModuleId { identity: Identity::new(&[1]), kind: 3, edges: 9, name, path: path.into(), below: below.into() }
    }

    #[test]
    fn libraries_are_told_apart_by_more_than_the_last_name() {
        let site = "/v/lib/python3.11/site-packages";
        let table = [
            // One place, rebuilt.
            ("/x/a.so", "", "/x/a.so", "", true),
            // Packages that are installed.
            (&format!("{site}/pa/_core.so"), "", &format!("{site}/pb/_core.so"), "", false),
            (&format!("{site}/pa/_core.so"), "", "/w/lib/python3.12/site-packages/pa/_core.so", "", true),
            (&format!("{site}/pa/_core.so"), "", "/usr/lib/python3/dist-packages/pa/_core.so", "", true),
            (&format!("{site}/x/native/_core.so"), "", &format!("{site}/y/native/_core.so"), "", false),
            (&format!("{site}/_core.so"), "", &format!("{site}/pa/_core.so"), "", false),
            (&format!("{site}/pa/_core.so"), "", "/v/.hitmap/asan/pa/_core.so", "", true),
            // One that brings packages of its own along.
            (&format!("{site}/pip/site-packages/pa/_core.so"), "", &format!("{site}/pa/_core.so"), "", true),
            // Python's version is no part of the name.
            (
                &format!("{site}/pa/_core.cpython-311-x86_64-linux-gnu.so"),
                "",
                &format!("{site}/pa/_core.abi3.so"),
                "",
                true,
            ),
            ("/x/a.cpython-311-x86_64-linux-gnu.so", "", "/x/b.cpython-311-x86_64-linux-gnu.so", "", false),
            ("/x/libfoo.so.1", "", "/y/libfoo.so.1", "", true),
            // Source trees.
            ("/t/pa/_core.so", "pa/_core.so", "/t/pb/_core.so", "pb/_core.so", false),
            ("/t/pa/_core.so", "pa/_core.so", "/u/pa/_core.so", "pa/_core.so", true),
            ("/t/pa/_core.so", "pa/_core.so", &format!("{site}/pa/_core.so"), "", true),
            ("/t/old/twice.so", "", "/t/new/twice.so", "", true),
            // A program has no name to the loader.
            ("", "", "", "", false),
        ];
        for (one, one_below, other, other_below, expect) in table {
            let (one, other) = (id(one, one_below), id(other, other_below));
            assert_eq!(one.is_same_library(&other), expect, "{one:?} {other:?}");
            assert_eq!(other.is_same_library(&one), expect, "{other:?} {one:?}");
        }
    }

    #[test]
    fn packages_and_roots_say_what_lies_above() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        for package in ["pa", "pa/inner", "names/pc"] {
            std::fs::create_dir_all(top.join(package)).unwrap();
            std::fs::write(top.join(package).join("__init__.py"), "").unwrap();
        }
        let none: [&Path; 0] = [];
        let below = |file: &str, roots: &[&Path]| below_root(&top.join(file).to_string_lossy(), roots);
        assert_eq!(below("pa/_core.so", &none), "pa/_core.so");
        assert_eq!(below("pa/inner/_core.so", &none), "pa/inner/_core.so");
        assert_eq!(below("plain/_core.so", &none), "", "a folder that is no package");
        assert_eq!(below("plain/_core.so", &[top]), "plain/_core.so", "a package without __init__.py");
        assert_eq!(below("names/pc/_core.so", &none), "pc/_core.so");
        assert_eq!(below("names/pc/_core.so", &[top, Path::new("/"), Path::new("")]), "names/pc/_core.so");
        assert_eq!(below("pa/_core.so", &[&top.join("pa"), top]), "pa/_core.so", "a package's own folder is no root");
        assert_eq!(below("rebuilt/one.so", &[top, &top.join("rebuilt")]), "");
        assert_eq!(below("site-packages/pa/_core.so", &none), "", "the path says it");
        assert_eq!(below_root("relative/_core.so", &none), "");
        assert_eq!(below_root("", &none), "");
    }
}
