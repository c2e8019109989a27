"""A new export format is one class and one line: a toy format goes the way of the shipped ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from nas.cli import main
from tests.zoo.export.lively import PX, lively
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.export.deployed import Deployed
from zoo.export.formats import FORMATS
from zoo.export.formats.format import ExportFormat, Runner
from zoo.export.options import ExportOptions
from zoo.export.write import export, open_exported

SCALE = 1.0


class ToyFormat(ExportFormat):
    """A state dict with its weights, run by torch; ``SCALE`` damages its boxes."""

    suffix = ".toy"
    dynamic = True

    def write(self, folded: Detector, path: Path, options: ExportOptions, onnx_model: Any = None) -> None:
        self.module = Deployed(folded, options.form)
        torch.save(self.module.state_dict(), path)

    def open(self, path: Path, options: ExportOptions) -> Runner:
        self.module.load_state_dict(torch.load(path, weights_only=True))

        def run(image: Tensor) -> dict[str, Tensor]:
            with torch.no_grad():
                boxes, scores = self.module(image)
            return {"boxes": boxes * SCALE, "scores": scores}

        return run


def test_a_format_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "toy", ToyFormat())
    options = ExportOptions(height=PX, width=PX, dynamic=True)
    file = export(lively("yolox-nano"), tmp_path / "x.toy", "toy", options)
    assert file.within_tolerance and file.path.stat().st_size > 100_000
    assert "agrees with torch" in str(file) and file.to_table()[0][0] == "output"
    outputs = open_exported(file.path, "toy", options)(torch.zeros(1, 3, PX, PX))
    assert set(outputs) == {"boxes", "scores"}
    monkeypatch.setitem(globals(), "SCALE", 1.1)
    damaged = export(lively("yolox-nano"), tmp_path / "x.toy", "toy", options)
    assert not damaged.within_tolerance and "DRIFTS" in str(damaged) and damaged.to_dict()["faithful"] is False
    with pytest.raises(BadInput, match="--half: toy files are written in FP32"):
        export(lively("yolox-nano"), tmp_path / "x.toy", "toy", ExportOptions(height=PX, width=PX, half=True))
    with pytest.raises(BadInput, match=r"ends in \.toy"):
        export(lively("yolox-nano"), tmp_path / "x.onnx", "toy", options)


def test_the_command_line_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FORMATS, "toy", ToyFormat())
    monkeypatch.chdir(tmp_path)
    assert main(["export", "yolox-nano", "--format", "toy", "--input", "64", "--quiet"]) == 0
    assert "wrote yolox-nano.toy" in capsys.readouterr().out
