"""The text of a trained shortlist: which models beat which."""

from __future__ import annotations

from pathlib import Path

from nas.shortlist.result import ShortlistEntry, ShortlistResult


def row(name: str, stock: bool, ap: float, cost: float) -> ShortlistEntry:
    return ShortlistEntry(name, stock, ap, cost, 10, 1.0, None, f"runs/{name}/best.safetensors")


def result(*rows: ShortlistEntry) -> ShortlistResult:
    return ShortlistResult(Path("r/trained"), "latency_ms", 10, ((10, 2),), rows, (), ())


def test_a_search_that_did_not_beat_a_stock_model_says_so() -> None:
    trained = result(
        row("found-1", False, 0.30, 2.0),
        row("found-2", False, 0.25, 1.0),
        row("yolox-s", True, 0.31, 1.9),
        row("yolo11n", True, 0.2, 1.5),
    )
    assert trained.beaten_by() == [("yolox-s", None), ("yolo11n", "found-2")]
    assert trained.front == ["found-2", "yolox-s"]
    assert (
        "SEARCH DID NOT BEAT yolox-s" in str(trained)
        and "found-2 beats yolo11n" in str(trained)
        and "a stock model beats found-1" in str(trained)
    )
    assert trained.to_dict()["against"] == [
        {"stock": "yolox-s", "beaten_by": None},
        {"stock": "yolo11n", "beaten_by": "found-2"},
    ]


def test_a_search_that_beat_them_all_does_not_shout() -> None:
    assert "NOT" not in result(row("found-1", False, 0.4, 1.0), row("yolox-s", True, 0.3, 1.9)).summary()
    assert "nothing says what the search was worth" in result(row("found-1", False, 0.4, 1.0)).summary()
