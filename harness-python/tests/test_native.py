"""The stub of the native module says what there is, no more and no less."""

import ast
from pathlib import Path

import hitmap
from hitmap import _native

STUB = ast.parse((Path(hitmap.__file__).parent / "_native.pyi").read_text())
# What every object has, or what Python derives from a method that is there.
DERIVED = {"__doc__", "__module__", "__hash__", "__new__", "__repr__", "__reduce__", "__name__", "__ne__", "__all__"}
# Constructors are `__new__` there and `__init__` in a stub.
DERIVED |= {"__init__"}
DERIVED |= {"__lt__", "__gt__", "__ror__", "__rand__", "__rsub__", "__rxor__"}


def stubbed(body) -> set[str]:
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return names | {node.target.id for node in body if isinstance(node, ast.AnnAssign)}


def public(names) -> set[str]:
    return {name for name in names if not name.startswith("_")} | {"__version__"} & set(names)


def test_the_stub_names_what_the_module_has():
    assert public(stubbed(STUB.body)) == public(vars(_native))


def test_the_stub_names_what_its_classes_have():
    for node in STUB.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            there = set(vars(getattr(_native, node.name))) - DERIVED
            assert stubbed(node.body) - DERIVED == there, node.name


def test_the_stub_has_the_parameters_of_the_functions():
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            text = getattr(_native, node.name).__text_signature__
            names = [part.strip().partition("=")[0] for part in text.strip("()").split(",")]
            all_of = node.args
            rest = [f"*{all_of.vararg.arg}"] if all_of.vararg else []
            stated = [argument.arg for argument in all_of.args] + rest + [argument.arg for argument in all_of.kwonlyargs]
            assert stated == [name for name in names if name not in ("", "*")], node.name


def test_the_face_names_what_it_exports():
    assert all(hasattr(hitmap, name) for name in hitmap.__all__)
    assert hitmap.__version__ == _native.__version__
