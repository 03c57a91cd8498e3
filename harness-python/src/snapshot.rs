//! Snapshots as Python objects: owned maps that are saved, merged, compared and put back.
//!
//! Owns no rule of its own: `hitmap_observers::snapshot` has them. What is added here is that two
//! builds of one library are refused, because a sum over both would say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hitmap_observers::snapshot::{FileError, Hit, Hits, Meta, ModuleId, ModuleMap, Problem, Snapshot as Map, venn_by};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};

use crate::coverage::Module;

/// An owned copy of coverage: modules by identity, and the edges of each that were hit. It means the
/// same on every machine and never changes.
#[pyclass(frozen, module = "hitmap._native")]
pub struct Snapshot {
    map: Map,
}

#[pymethods]
impl Snapshot {
    /// A snapshot of dense classes: `classes` has a byte for each edge of `modules`. Copies of one library are
    /// one library there, with what any of them hit.
    #[staticmethod]
    fn of(py: Python<'_>, modules: Vec<PyRef<'_, Module>>, classes: &[u8]) -> PyResult<Snapshot> {
        let roots = import_roots(py);
        let counted = modules.iter().filter(|module| !module.refused);
        let maps = counted.map(|module| {
            // A library that was loaded after the copy was made has no bytes in it.
            let first = (module.first as usize).min(classes.len());
            let own = &classes[first..(first + module.edges as usize).min(classes.len())];
            let hits = (0..).zip(own).filter(|(_, class)| **class != 0);
            let hits = Hits::new(hits.map(|(edge, class)| Hit { edge, class: *class }).collect())?;
            ModuleMap::new(module.id().imported_from(&roots), hits)
        });
        let maps = maps.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        Ok(Snapshot { map: Map::new(maps, meta_of_now()) })
    }

    /// Dense classes for a process that has `modules`. Where it has several copies of a library, the one that the
    /// snapshot was made of gets the hits, else the first.
    fn classes<'py>(&self, py: Python<'py>, modules: Vec<PyRef<'_, Module>>) -> PyResult<Bound<'py, PyBytes>> {
        let here: Vec<_> = modules.iter().filter(|module| !module.refused).map(|m| (m.first, m.id())).collect();
        let end = here.iter().map(|(first, id)| first + u64::from(id.edges)).max().unwrap_or(0);
        let mut classes = vec![0u8; end as usize];
        for module in self.map.modules().iter().filter(|module| !module.hits().is_empty()) {
            let wanted = module.id();
            let copies = || here.iter().filter(|(_, id)| id.key() == wanted.key());
            let Some((first, _)) = copies().find(|(_, id)| id.path == wanted.path).or_else(|| copies().next()) else {
                let roots = import_roots(py);
                let other = here.iter().find(|(_, id)| id.clone().imported_from(&roots).is_same_library(wanted));
                return Err(PyValueError::new_err(match other {
                    Some((_, id)) => format!(
                        "{} is build {} in the snapshot and build {} in this process, and their edges do not \
                         correspond; take a snapshot of the build that is used",
                        wanted.label(),
                        wanted.identity,
                        id.identity
                    ),
                    None => format!("{} is not loaded in this process; import it before restoring", wanted.label()),
                }));
            };
            for hit in module.hits().iter() {
                classes[*first as usize + hit.edge as usize] = hit.class;
            }
        }
        Ok(PyBytes::new(py, &classes))
    }

    /// Reads a file that `save`, or a campaign, wrote. Raises `OSError` when it cannot be read and
    /// `ValueError` when it is no sound snapshot; both name the file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Snapshot> {
        let map = py.detach(|| Map::load(path)).map_err(file_error)?;
        Ok(Snapshot { map })
    }

    /// Writes it to a file, all or nothing. Raises `OSError`.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.map.save(path)).map_err(file_error)
    }

    /// Reads what `to_bytes` gave. Raises `ValueError`.
    #[staticmethod]
    fn from_bytes(data: &[u8]) -> PyResult<Snapshot> {
        Ok(Snapshot { map: Map::decode(data).map_err(bad)? })
    }

    /// Its bytes, as `save` writes them.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.map.encode())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let py = slf.py();
        Ok((PyType::new::<Snapshot>(py).getattr("from_bytes")?, (slf.get().to_bytes(py),)))
    }

    /// Edges that were hit.
    #[getter]
    fn hits(&self) -> u64 {
        self.map.hits()
    }

    /// Edges that there are, hit or not.
    #[getter]
    fn total(&self) -> u64 {
        self.map.total()
    }

    /// Its libraries, in the order of their identities.
    #[getter]
    fn modules(&self) -> Vec<Module> {
        let mut first = 0;
        let each = self.map.modules().iter().map(|module| {
            let start = first;
            first += u64::from(module.id().edges);
            Module::kept(module.id(), start, module.hits().len() as u32)
        });
        each.collect()
    }

    /// Inputs that were run for it; 0 when it was not made by a campaign.
    #[getter]
    fn executions(&self) -> u64 {
        self.map.meta.executions
    }

    /// Seconds since 1970 in UTC at which it was made; 0 when that is not known.
    #[getter]
    fn created(&self) -> u64 {
        self.map.meta.created
    }

    /// Edges of either, with the larger hit class.
    fn __or__(&self, other: &Snapshot) -> PyResult<Snapshot> {
        self.with(other, Map::union)
    }

    /// Edges of both, with the smaller hit class.
    fn __and__(&self, other: &Snapshot) -> PyResult<Snapshot> {
        self.with(other, Map::intersection)
    }

    /// Edges of this one that the other does not have.
    fn __sub__(&self, other: &Snapshot) -> PyResult<Snapshot> {
        self.with(other, Map::difference)
    }

    /// Edges that only one of both has.
    fn __xor__(&self, other: &Snapshot) -> PyResult<Snapshot> {
        self.with(other, Map::symmetric_difference)
    }

    /// Whether the other has every edge of this one, in whatever class.
    fn __le__(&self, other: &Snapshot) -> bool {
        self.map.is_subset(&other.map)
    }

    /// Whether this one has every edge of the other, in whatever class.
    fn __ge__(&self, other: &Snapshot) -> bool {
        other.map.is_subset(&self.map)
    }

    /// Whether the other has every edge of this one, and more.
    fn __lt__(&self, other: &Snapshot) -> bool {
        self.map.is_subset(&other.map) && self.map.hits() < other.map.hits()
    }

    /// Whether this one has every edge of the other, and more.
    fn __gt__(&self, other: &Snapshot) -> bool {
        other.__lt__(self)
    }

    /// Whether any edge was hit.
    fn __bool__(&self) -> bool {
        self.map.hits() != 0
    }

    /// Whether both have the same libraries with the same hits; where they come from does not count.
    fn __eq__(&self, other: &Snapshot) -> bool {
        let (ours, theirs) = (self.map.modules(), other.map.modules());
        let mut pairs = ours.iter().zip(theirs);
        ours.len() == theirs.len() && pairs.all(|(a, b)| a.id().key() == b.id().key() && a.hits() == b.hits())
    }

    /// Equal snapshots have equal hashes: a snapshot never changes.
    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for module in self.map.modules() {
            (module.id().key(), module.hits()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// `numpy.asarray(snapshot)`: the class of every edge, library after library as in `modules`.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let total = self.map.total() as usize;
        let classes = PyBytes::new_with(py, total, |classes| {
            let mut first = 0;
            for module in self.map.modules() {
                module.hits().iter().for_each(|hit| classes[first + hit.edge as usize] = hit.class);
                first += module.id().edges as usize;
            }
            Ok(())
        })?;
        let array = PyDict::new(py);
        array.set_item("version", 3)?;
        array.set_item("shape", (total,))?;
        array.set_item("typestr", "|u1")?;
        array.set_item("data", classes)?;
        Ok(array)
    }

    /// Hits and edges of all, then of the libraries that were hit, the most first.
    fn __repr__(&self) -> String {
        const SHOWN: usize = 3;
        let (hit, rest) = self.hit_modules();
        let mut text = format!("<snapshot of {} of {} edges", self.map.hits(), self.map.total());
        for (at, module) in hit.iter().take(SHOWN).enumerate() {
            let (name, hits, edges) = (module.id().label(), module.hits().len(), module.id().edges);
            text += &format!("{} {name} {hits}/{edges}", if at == 0 { ":" } else { "," });
        }
        match hit.len().saturating_sub(SHOWN) + rest {
            0 => text + ">",
            1 => text + " and another library>",
            more => text + &format!(" and {more} other libraries>"),
        }
    }

    /// A table for notebooks: a line a library.
    fn _repr_html_(&self) -> String {
        let mut rows = String::new();
        for module in self.map.modules() {
            let (id, hits) = (module.id(), module.hits().len());
            let percent = 100.0 * hits as f64 / f64::from(id.edges.max(1));
            rows += &format!(
                "<tr><td>{}</td><td>{hits}</td><td>{}</td><td>{percent:.1} %</td><td><code>{}</code></td></tr>",
                escaped(id.label()),
                id.edges,
                id.identity
            );
        }
        let head = "<tr><th>library</th><th>hit</th><th>edges</th><th></th><th>build</th></tr>";
        format!("<table>{head}{rows}</table>")
    }
}

impl Snapshot {
    /// Libraries that were hit, the most first, and how many were not.
    fn hit_modules(&self) -> (Vec<&ModuleMap>, usize) {
        let mut hit: Vec<_> = self.map.modules().iter().filter(|module| !module.hits().is_empty()).collect();
        hit.sort_by_key(|module| std::cmp::Reverse(module.hits().len()));
        let rest = self.map.modules().len() - hit.len();
        (hit, rest)
    }

    fn with(&self, other: &Snapshot, combine: impl Fn(&Map, &Map) -> Map) -> PyResult<Snapshot> {
        refuse_conflicts(&self.map, &other.map)?;
        Ok(Snapshot { map: combine(&self.map, &other.map) })
    }

    /// The map itself.
    pub fn map(&self) -> &Map {
        &self.map
    }
}

impl From<Map> for Snapshot {
    fn from(map: Map) -> Snapshot {
        Snapshot { map }
    }
}

/// How many edges lie in which of up to three snapshots: element `0b101` counts those that only the
/// first and the third have. By `"module"` or `"function"`, a dict of such lists, by the library's name (with
/// its package where several libraries have one name), or by that and the function's; a function that has no name, or whose library is not there any more,
/// counts as `""`. Raises `ValueError` for another number of snapshots, another `by`, and for two builds
/// of one library.
#[pyfunction]
#[pyo3(signature = (*snapshots, by="edge"))]
pub fn venn(py: Python<'_>, snapshots: Vec<PyRef<'_, Snapshot>>, by: &str) -> PyResult<Py<PyAny>> {
    if !(1..=3).contains(&snapshots.len()) {
        return Err(PyValueError::new_err(format!("venn takes one to three snapshots, not {}", snapshots.len())));
    }
    let maps: Vec<&Map> = snapshots.iter().map(|snapshot| &snapshot.map).collect();
    for (at, map) in maps.iter().enumerate() {
        maps[..at].iter().try_for_each(|before| refuse_conflicts(before, map))?;
    }
    let names = names(&maps);
    let function = |id: &ModuleId, edge: u32| {
        let place = crate::places::place(id, edge);
        Some((names(id), place.map_or_else(|_| String::new(), |place| place.function)))
    };
    let counts = |zones: &[u64; 8]| zones[..1 << maps.len()].to_vec();
    match by {
        "edge" => counts(&hitmap_observers::snapshot::venn(&maps)).into_py_any(py),
        "module" => {
            let modules = venn_by(&maps, |id, _| Some(names(id)));
            modules.iter().map(|(name, zones)| (name, counts(zones))).collect::<BTreeMap<_, _>>().into_py_any(py)
        }
        "function" => {
            let functions = venn_by(&maps, function);
            functions.iter().map(|(name, zones)| (name, counts(zones))).collect::<BTreeMap<_, _>>().into_py_any(py)
        }
        other => Err(PyValueError::new_err(format!("by is \"edge\", \"module\" or \"function\", not \"{other}\""))),
    }
}

/// What libraries are called: by their file's name, or with their package where several have that name.
fn names(maps: &[&Map]) -> impl Fn(&ModuleId) -> String {
    let mut libraries: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in maps.iter().flat_map(|map| map.modules()) {
        libraries.entry(module.id().name.clone()).or_default().insert(module.id().library());
    }
    move |id| match libraries.get(&id.name) {
        Some(several) if several.len() > 1 => id.label().to_owned(),
        _ => id.name.clone(),
    }
}

/// The folders that this process imports from: `sys.path`. What stands there and is no path is left out.
pub fn import_roots(py: Python<'_>) -> Vec<PathBuf> {
    let path = py.import("sys").and_then(|sys| sys.getattr("path"));
    let entries = path.and_then(|path| path.try_iter()?.collect::<PyResult<Vec<_>>>()).unwrap_or_default();
    let folder = |entry: Bound<'_, PyAny>| {
        let entry = entry.extract::<PathBuf>().ok()?;
        // An empty one is the current folder.
        std::path::absolute(if entry.as_os_str().is_empty() { Path::new(".") } else { &entry }).ok()
    };
    entries.into_iter().filter_map(folder).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The program that snapshots say they were made with.
pub const TOOL: &str = concat!("hitmap ", env!("CARGO_PKG_VERSION"));

/// The metadata of a snapshot that is made now.
pub fn meta_of_now() -> Meta {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Meta { created, tool: TOOL.into(), ..Meta::default() }
}

/// Raises `ValueError` when both have a library of one name and share no build of it.
pub fn refuse_conflicts(one: &Map, other: &Map) -> PyResult<()> {
    match one.conflicts(other).first() {
        Some(conflict) => Err(bad(conflict)),
        None => Ok(()),
    }
}

/// A `ValueError` that says what is wrong.
pub fn bad(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn file_error(error: FileError) -> PyErr {
    let text = error.to_string();
    match error.problem {
        _ if error.is_not_found() => PyFileNotFoundError::new_err(text),
        Problem::System { .. } => PyOSError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}
