"""Every command that a page shows is one that the program takes; with NAS_RUN_PAGES=1 they are done, too, in a furnished folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.tutorial import shortened
from nas.cli import build_parser, main
from tests.docs.pages import ROOT, Shown, shown

MEASURED_ALONE = {"calibrate": "takes minutes on a quiet machine; tests/nas/latency runs it on a small set"}
"""Commands that are not run here, and why."""


@pytest.mark.parametrize("command", shown(), ids=str)
def test_is_understood(command: Shown) -> None:
    args = build_parser().parse_args(command.words)
    assert callable(args.run)


def test_many_are_found() -> None:
    pages = {one.page for one in shown()}
    assert {"README.md", "docs/cli.md", "docs/training.md", "docs/tutorial/index.md", "nas search --help"} <= pages


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The furnished folder; commands see what earlier ones have left, as a reader's do."""
    for package in ("torch", "pycocotools", "cv2", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    from tests.docs.world import furnish

    folder = tmp_path_factory.mktemp("pages")
    devices = folder / "devices"
    devices.mkdir()
    text = (ROOT / "nas" / "latency" / "devices" / "t4.yaml").read_text(encoding="utf-8")
    (devices / "cpu.yaml").write_text(text.replace("name: t4", "name: cpu", 1), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NAS_DEVICES", str(devices))
        furnish(folder)
    return folder


DISTINCT = list({one.text: one for one in shown()}.values())


@pytest.mark.slow
@pytest.mark.skipif("NAS_RUN_PAGES" not in os.environ, reason="some commands still miss what they name in the furnished folder: NAS_RUN_PAGES=1 runs them")
@pytest.mark.parametrize("command", DISTINCT, ids=str)
def test_is_done(command: Shown, here: Path, shared_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = Shown(command.page, shortened(command.text)).words
    if words[0] in MEASURED_ALONE:
        pytest.skip(MEASURED_ALONE[words[0]])
    if "cuda" in words:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no GPU here")
    words = [str(shared_dir / "t4") if word in ("DATA", "../shared/t4") else word for word in words]
    if "--address" in words:
        pytest.skip("no cluster here; tests/nas/search runs one of three nodes on this machine")
    if words[0] in ("train", "distill"):
        words += ["--input", "64", "--workers", "0"] + ([] if "--epochs" in words else ["--epochs", "1"])
    if words[0] == "tune":
        words += ["--input", "64", "--readers", "0"]
    if words[:2] == ["data", "synth"]:
        shutil.rmtree(here / words[2], ignore_errors=True)
    if "--fix" in words:
        shutil.rmtree(here / words[words.index("--fix") + 1], ignore_errors=True)
    monkeypatch.setenv("NAS_DEVICES", str(here / "devices"))
    monkeypatch.chdir(here)
    if words[0] == "board":
        serves(words, here)
        return
    assert main(words) == 0


def serves(words: list[str], folder: Path) -> None:
    """A server says where it is; then it is stopped."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-m", "nas.cli", *words], cwd=folder, env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            assert any("http://localhost:" in line or "http://127.0.0.1:" in line for line in server.stdout)
        finally:
            server.terminate()
