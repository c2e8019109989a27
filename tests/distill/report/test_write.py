"""The report of a training: what it holds, that it fetches nothing, and that it can be made again."""

from __future__ import annotations

import csv
import html
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")

import nas
from nas.cli import main
from tests.distill.tiny import furnish

PICTURES = {"batch-1", "batch-2", "confusion", "curves", "f1", "labels", "precision-recall", "validation"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two epochs in ``runs/one`` with its report."""
    folder = tmp_path_factory.mktemp("report")
    furnish(folder, 12)
    return nas.train(
        folder / "tiny.yaml", folder / "data", input_px=64, epochs=2, batch=4, data_workers=0, name="one",
        runs=folder / "runs", quiet=True,
    ).folder  # fmt: skip


def test_the_page_stands_alone(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r'(src|href)="(?!data:)', page)
    assert all(f'alt="{text}' in page for text in ("Losses", "F1", "Precision over recall", "Confusion", "Labels"))
    text = html.unescape(page)
    assert f"nas predict {run / 'best.safetensors'}" in text and "CPUs (" in text and "Training batch 1" in text


def test_pictures_lie_beside_it(run: Path) -> None:
    names = {file.stem for file in (run / "report").glob("*.png")}
    assert names >= PICTURES and any(name.startswith(("worst-", "best-")) for name in names)


def test_results_csv_has_a_row_an_epoch(run: Path) -> None:
    rows = list(csv.DictReader((run / "results.csv").open(encoding="utf-8")))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    losses = [float(value) for name, value in rows[0].items() if name.startswith("loss/") and name != "loss/total"]
    assert float(rows[0]["loss/total"]) == pytest.approx(sum(losses)) and "ap50" in rows[0]


def test_it_is_made_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Detections that are not there are made again, too, as for a training of an older version."""
    copy = tmp_path / "one"
    shutil.copytree(run, copy)
    for name in ("report.html", "results.csv", "val-detections.json"):
        (copy / name).unlink()
    shutil.rmtree(copy / "report")
    assert main(["report", str(copy), "--quiet"]) == 0
    assert capsys.readouterr().out == f"wrote {copy / 'report.html'}\n" and (copy / "results.csv").is_file()
    assert {file.name for file in (copy / "report").iterdir()} == {file.name for file in (run / "report").iterdir()}
    ours, theirs = (
        re.search(r"<dd>(.*?)</dd>", (at / "report.html").read_text(encoding="utf-8")) for at in (copy, run)
    )
    assert ours and theirs and ours.group(1) == theirs.group(1), "the same AP"


def test_other_data_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    furnish(tmp_path, 16)
    assert main(["report", str(run), "--data", str(tmp_path / "data"), "--quiet"]) == 2
    assert "are not those of the training" in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "neither best.yaml (a search) nor best.safetensors (a training)" in capsys.readouterr().err
