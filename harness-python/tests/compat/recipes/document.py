"""Runs the Python of one memcov document, beside `steps`, without hitmap: `document.py FILE`. Says what it ran.

The edits, all of them made here: lines that are indented too far are moved until they parse; a string that stands
alone is either words to the reader, who then does what they say, or a recipe, which is run; and where a path is passed
to `Memcov`, which needs a handle, the library is loaded.
"""

import ast
import ctypes
import multiprocessing
import os
import re
import sys
import textwrap
from pathlib import Path


def blocks(text):
    """(language, code) of each block. One that is never closed ends where the list that it stands in goes on."""
    found, language, code = [], None, []
    for line in text.splitlines():
        fence = re.fullmatch(r" *```(\w*) *", line)
        if language is not None and (fence or re.match(r"\d+\. ", line)):
            found.append((language, textwrap.dedent("\n".join(code))))
            language, code = None, []
            if not (fence and fence[1]):
                continue
        if language is not None:
            code.append(line)
        elif fence:
            language = fence[1]
    assert language is None, "the last block is not closed"
    return found


def parsed(code):
    lines = textwrap.dedent(code).split("\n")
    while True:
        try:
            return ast.parse("\n".join(lines))
        except IndentationError as error:
            line = lines[error.lineno - 1]
            if not line.startswith("    "):
                raise
            lines[error.lineno - 1] = line[4:]


class Edits(ast.NodeTransformer):
    """Words to the reader become a call of `asked`; a path for `Memcov` becomes a handle."""

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return ast.copy_location(ast.parse(f"asked({node.value.value!r})").body[0], node)
        return self.generic_visit(node)

    def visit_Call(self, node):
        if isinstance(node.func, ast.Name) and node.func.id == "Memcov" and isinstance(node.args[0], ast.Constant):
            node.args = [ast.parse("library()", mode="eval").body]
        return self.generic_visit(node)


def run(code, names):
    tree = ast.fix_missing_locations(Edits().visit(parsed(code)))
    exec(compile(tree, "document", "exec"), names)


def recipes(binding):
    """The recipes among the strings of a binding: code in quotes."""
    strings = [node.value.value for node in ast.parse(binding).body
               if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return [string for string in strings if "import coverage" in string]


def in_child(function, *arguments):
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0


def edges(coverage):
    data = coverage.get_hitmap()
    assert len(data) == coverage.get_total() == 16
    return {i for i in range(16) if data[(i + 1) // 8] >> ((i + 1) % 8) & 1}


def check_binding(coverage, step, save, load):
    """What a child saved is not the parent's until it is loaded; then it is the union."""
    coverage.reset()
    step(0), step(3)

    def child():
        coverage.push()
        step(3), step(14)
        assert edges(coverage) == {3, 14}
        coverage.pop()
        run(save, reader())

    in_child(child)
    assert edges(coverage) == {0, 3} and coverage.get_now() == 2
    run(load, reader())
    assert edges(coverage) == {0, 3, 14} and coverage.get_now() == 3
    data = coverage.get_hitmap()
    coverage.reset()
    coverage.set_now(9)
    assert coverage.get_now() == 9
    coverage.set_hitmap(data)
    assert edges(coverage) == {0, 3, 14} and coverage.get_now() == 3


def reader():
    """What the recipes leave to whoever copies them."""
    return {
        "__file__": os.path.abspath("script.py"), "ctypes": ctypes, "os": os, "asked": lambda words: None,
        "write_bytes_to_file": lambda name, data: Path(name).write_bytes(data),
        "read_bytes_from_file": lambda name: Path(name).read_bytes(),
    }


def check_program(code, coverage, step):
    """A loop over models, each in a process of its own, which the document describes in words."""
    coverage.reset()
    step(0)
    state = {"left": [1, 5, 5, 15], "model": None, "union": {0}}

    def asked(words):
        words = " ".join(words.split())
        if words.startswith("compile and run"):
            step(state["model"])
        elif words.startswith("raise a process"):
            in_child(names["run_and_compile_a_model"])
            assert edges(coverage) == state["union"], "the child's map is its own"
            state["union"] = state["union"] | {state["model"]}

    class Models:
        def __contains__(self, _):
            assert edges(coverage) == state["union"] and coverage.get_now() == len(state["union"])
            state["model"] = state["left"].pop(0) if state["left"] else None
            return state["model"] is not None

    names = {**reader(), "asked": asked, "model": None, "models": Models()}
    run(code, names)
    assert edges(coverage) == {0, 1, 5, 15}


def check_class(names, step):
    cov = names["cov"]
    assert cov.get_bitmap_bytes() == 2 and names["last_hits"] == cov.get_hitbits()
    step(0), step(15)
    assert cov.get_hitbits() == names["last_hits"] + 2
    data = cov.get_hitmap_buffer()
    assert data == bytearray([1, 128])
    cov.reset_bitmap()
    cov.set_hitbits(5)
    assert cov.get_hitbits() == 5
    cov.set_hitmap_buffer(data)
    assert cov.get_hitbits() == 2 and cov.get_hitmap_buffer() == data


def main(path):
    sys.modules["hitmap"] = None
    import steps

    library, step = lambda: ctypes.CDLL(steps.__file__), steps.step
    python = [code for language, code in blocks(Path(path).read_text()) if language == "python"]
    binding = next((code for code in python if "_LIB = " not in code and "_LIB.mcov" in code), None)
    ran = []
    if binding is not None:
        # The module that the document says to write, on the handle that it imports.
        for name in ("tvm", "tvm/_ffi", "tvm/contrib"):
            os.mkdir(name)
        Path("tvm/_ffi/base.py").write_text("import ctypes, steps\n_LIB = ctypes.CDLL(steps.__file__)\n")
        Path("tvm/contrib/coverage.py").write_text(binding)
        sys.path.insert(0, os.getcwd())
        from tvm.contrib import coverage
        save, load = recipes(binding)
        check_binding(coverage, step, save, load)
        ran += ["binding", "save", "load"]
    names = {"library": library}
    for code in python:
        if code is binding:
            continue
        if "while " in code:
            check_program(code, coverage, step)
            ran.append("program")
        else:
            run(code, names)
            ran.append("class" if "class " in code else "loop")
    if "cov" in names:
        check_class(names, step)
    print("ran", *sorted(ran))


if __name__ == "__main__":
    main(sys.argv[1])
