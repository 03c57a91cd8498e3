"""Which files of a source tree go into the copy that is built."""

import os

from hitmap.build import source


def check(folder, tree, expect):
    for name in tree:
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tree[name] if isinstance(tree, dict) else "")
    source.copy(str(folder / "tree"), str(folder / "copy"))
    found = {os.path.relpath(os.path.join(place, name), folder / "copy")
             for place, _, names in os.walk(folder / "copy") for name in names}
    assert found == set(expect)


def test_what_earlier_builds_left_stays_behind(tmp_path):
    check(tmp_path,
          ["setup.py", "src/a.c", "src/a.o", "mod.cpython-311.so", "build/temp.linux/a.o", "build/lib.linux/m.py", "dist/m.whl",
           "m.egg-info/PKG-INFO", "__pycache__/m.pyc", ".git/HEAD", "out/CMakeCache.txt", "out/a.txt", ".venv/bin/python"],
          ["setup.py", "src/a.c"])


def test_sources_in_folders_named_build_are_kept(tmp_path):
    check(tmp_path, ["setup.py", "build/cmake/CMakeLists.txt", "pkg/build/a.c", "pkg/dist/a.c"],
          ["setup.py", "build/cmake/CMakeLists.txt", "pkg/build/a.c", "pkg/dist/a.c"])


def test_git_comes_along_when_the_version_comes_from_it(tmp_path):
    check(tmp_path, {"pyproject.toml": 'requires = ["setuptools_scm"]', ".git/HEAD": "", "sub/.git": ""},
          ["pyproject.toml", ".git/HEAD"])


def test_links_out_of_the_tree_become_files(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "outside.h").write_text("x")
    (tmp_path / "tree" / "a.c").write_text("")
    (tmp_path / "tree" / "outside.h").symlink_to("../outside.h")
    (tmp_path / "tree" / "b.c").symlink_to("a.c")
    source.copy(str(tmp_path / "tree"), str(tmp_path / "copy"))
    assert not (tmp_path / "copy" / "outside.h").is_symlink()
    assert os.readlink(tmp_path / "copy" / "b.c") == "a.c"
