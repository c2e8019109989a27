"""Results print as text, turn into tables and plain data, and show themselves in a notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nas
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput
from workbench.tables import Result


def check(result: Any) -> None:
    """What every result can do."""
    assert isinstance(result, Result)
    header, rows = result.to_table()
    assert rows and all(len(row) == len(header) for row in rows)
    assert list(result.to_records()[0]) == list(dict.fromkeys(header))
    assert "<table>" in result._repr_html_() and str(rows[0][0]) in str(result)
    json.dumps(result.to_dict(), allow_nan=False)


def test_costs_of_names_and_objects() -> None:
    result = nas.cost(["damo-yolo-t", PUBLISHED["damo-yolo-s"]], "t4")
    check(result)
    assert result.names == ("damo-yolo-t", "damo-yolo-s") and len(result.rows) == 2
    assert result.costs["params"] == result.rows[0].costs["params"] < result.rows[1].costs["params"]
    assert sum(result.parts_ms.values()) == pytest.approx(result.costs["latency_ms"])
    assert "ms" not in nas.cost("damo-yolo-t").to_table().header


def test_scores_of_one_and_of_several() -> None:
    result = nas.score("damo-yolo-t", ["maxent", "deepmad"])
    check(result)
    assert [row.score for row in result.rows] == ["maxent", "deepmad"]
    assert nas.score("damo-yolo-t", "maxent").value == result.value


def test_latency_by_part_and_layer(tmp_path: Path) -> None:
    result = nas.latency("damo-yolo-t", ["t4", "raspberry-pi-4"], png=tmp_path / "latency.png")
    check(result)
    first = result.predictions[0]
    assert result.ms == first.ms == pytest.approx(sum(first.parts_ms.values())) and first.interval is not None
    assert len(first.to_table()[1]) == len(first.layers) > len(first.to_table(all_layers=False)[1])
    check(first)
    assert (tmp_path / "latency.png").stat().st_size > 1000
    assert nas.latency("damo-yolo-t", "t4,raspberry-pi-4").to_dict()["networks"] == result.to_dict()["networks"]


def test_a_search_shows_its_best_and_its_front(tmp_path: Path) -> None:
    result = nas.search("4ms", "t4", grid=32, runs=tmp_path, pictures=False, quiet=True)
    check(result)
    assert len(result.front_table().rows) == len(result.front)
    assert "certificate: proved best" in str(result) and result.measured is None and result.trained is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nas.latency("damo-yolo-t", "t4,"), "empty name"),
        (lambda: nas.search("3ms", "t4", runtime="torch"), "add --measure K"),
        (lambda: nas.search("3ms", "t4", then="train"), "--data PATH"),
        (lambda: nas.search("3ms", "t4", then="test", data="x"), "must be train or distill"),
        (lambda: nas.search("3ms", "t4", options=["children"]), "KEY=VALUE"),
        (lambda: nas.compare(zoo=False, only="yolox"), "contradict"),
        (lambda: nas.export("damo-yolo-t", "onnx", nms=True, end2end=True), "contradict"),
    ],
)  # fmt: skip
def test_bad_input_is_a_value_error(call: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=words):
        call()
    assert list(tmp_path.iterdir()) == []


def test_a_structure_text_is_a_result_too() -> None:
    result = nas.export("damo-yolo-t", "tinynas")
    assert result.passed and str(result).startswith("[{") and "<table>" in result._repr_html_()
