"""`examples/notebook`: it runs from top to bottom in a real kernel, over a ujson that was built with coverage."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook" / "coverage.ipynb"
BIN = Path(sys.executable).parent


def test_the_notebook_runs_and_is_kept_without_outputs(tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    # What `hitmap build` does, into a folder instead of the environment that all tests share.
    tools = {"CC": str(BIN / "hitmap-clang"), "CXX": str(BIN / "hitmap-clang++")}
    tools |= {"LDSHARED": f"{tools['CC']} -shared", "LDCXXSHARED": f"{tools['CXX']} -shared", "CFLAGS": "-O1"}
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-binary", "ujson", "--target", tmp_path / "built", "ujson==6.1.0"]
    subprocess.run(command, env={**os.environ, **tools}, check=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "built"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = "".join(output.text for output in shown if output.output_type == "stream")
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert said.count(" ok ") == 4 and "signal 9 " in said, said
    assert "<table>" in str(shown) and "image/png" in kinds
    assert (tmp_path / "ujson.hitmap").exists()
