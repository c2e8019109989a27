"""Folders of trained detectors: what is read, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.evidence.trained import TARGET, read_trained
from tests.nas.evidence.trained import SIZES, folder
from workbench.errors import BadInput


def test_points_and_columns(tmp_path: Path) -> None:
    points = read_trained(folder(tmp_path))
    assert len(points) == 24 * len(SIZES) and len(points.graphs) == 24
    assert set(points.family) == {"alpha1", "beta2"}
    assert np.isnan(points.target("other_map")).sum() == 6 * len(SIZES) and not np.isnan(points.target(TARGET)).any()
    small = points.part(points.input_px == 64)
    assert len(small) == 24 and len(small.latency["dear_depth_ms"]) == 24


def test_devices_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    points = read_trained(folder(tmp_path))
    assert list(points.devices()) == ["dear_depth", "dear_width"]
    assert list(points.devices(["dear_w"])) == ["dear_width"]
    with pytest.raises(BadInput, match="could be dear_depth, dear_width"):
        points.devices(["dear"])
    with pytest.raises(BadInput, match="unknown latency column 'cheap'"):
        points.devices(["cheap"])
    with pytest.raises(BadInput, match="unknown target 'voc'"):
        points.target("voc")


def test_a_point_without_latency_is_nan(tmp_path: Path) -> None:
    folder(tmp_path)
    lines = (tmp_path / "latency.csv").read_text().splitlines()
    (tmp_path / "latency.csv").write_text("\n".join(lines[:1] + lines[2:]) + "\n")
    points = read_trained(tmp_path)
    assert np.isnan(points.latency["dear_depth_ms"]).tolist() == [True] + [False] * (len(points) - 1)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("accuracy.csv", "arch,", "name,", "accuracy.csv needs the columns 'arch'"),
        ("accuracy.csv", "alpha1w4d1,64,", "alpha1w4d1,64,9", "must be a fraction of at most 1"),
        ("accuracy.csv", "alpha1w4d1,64,", "alpha1w4d1,64,-", "must be a finite number above 0"),
        ("accuracy.csv", "alpha1w4d1,64,", "alpha1w4d1,64.5,", "whole number of pixels"),
        ("accuracy.csv", "alpha1w4d1,96,", "alpha1w4d1,64,", "stands in line 2 already"),
        ("accuracy.csv", "alpha1w4d1,64,", "ghost,64,", "'ghost' has no graph"),
        ("latency.csv", "dear_depth_ms,dear_width_ms", "a,b", "no column of figures ending in _ms"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    folder(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=message):
        read_trained(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a folder"):
        read_trained(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"accuracy\.csv"):
        read_trained(tmp_path)


def test_a_detector_that_finds_nothing_has_an_accuracy_of_zero(tmp_path: Path) -> None:
    folder(tmp_path)
    lines = (tmp_path / "accuracy.csv").read_text().splitlines()
    lines[1:4] = ["alpha1w4d1,64,0.000000,", "alpha1w4d1,96,0,", "alpha1w4d1,128,0.0,"]
    (tmp_path / "accuracy.csv").write_text("\n".join(lines) + "\n")
    assert read_trained(tmp_path).target(TARGET)[:3].tolist() == [0, 0, 0]
