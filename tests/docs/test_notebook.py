"""The notebook runs from top to bottom, shows results as HTML, and holds no outputs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial" / "python.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]

RUNNER = """
import ast, json, sys
names, shown = {"__name__": "__main__"}, []
for number, text in enumerate(json.load(open(sys.argv[1]))):
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    value = None if last is None else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    if value is not None:
        shown.append([type(value).__name__, value._repr_html_() if hasattr(value, "_repr_html_") else ""])
    names["_shown"] = value
exported, trained = names["exported"], names["trained"]
size, epochs = exported.path.stat().st_size, len(trained.history)
print(json.dumps({"shown": shown, "passed": exported.passed, "file": size, "epochs": epochs}))
"""
"""Runs cells in one namespace, as a kernel does, and says what each would show."""


def test_it_has_no_outputs_and_names_no_machine() -> None:
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "/home/" not in text and "/tmp/" not in text and "/work" not in text
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


def test_cells_are_python() -> None:
    for text in CODE:
        compile(text, "cell", "exec")


def test_it_runs_from_search_to_comparison(tmp_path: Path) -> None:
    for package in ("torch", "pycocotools", "cv2", "onnxruntime"):
        pytest.importorskip(package)
    shutil.copy(NOTEBOOK.with_name("pico.yaml"), tmp_path)
    (tmp_path / "cells.json").write_text(json.dumps(CODE), encoding="utf-8")
    (tmp_path / "runner.py").write_text(RUNNER, encoding="utf-8")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch), "NAS_DEVICES": str(tmp_path / "devices")}
    done = subprocess.run(
        [sys.executable, "runner.py", "cells.json"], cwd=tmp_path, env=env, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["passed"] and result["file"] > 100_000 and result["epochs"] == 2
    forms = dict(result["shown"])
    expected = ["Search", "Cost", "Latency", "Train", "Predict", "Export", "Bench", "Compare"]
    assert {"Table", *(f"{name}{'Outcome' if name == 'Search' else 'Result'}" for name in expected)} <= set(forms)
    assert all("<table>" in html for kind, html in result["shown"] if kind not in ("PredictResult", "dict"))
    assert "data:image/png;base64," in forms["PredictResult"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.json", "pico.yaml", "runner.py", "scratch"]
