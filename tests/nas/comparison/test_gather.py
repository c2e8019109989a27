"""Rows from searches, trainings, the zoo and files; measured times find their rows; damage is named."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.comparison.comparison import row_dict
from nas.comparison.formatting import number
from nas.comparison.gather import compare
from nas.comparison.rows import MEASURED, PUBLISHED, SEARCHED, TRAINED, ZOO
from nas.costs import graph_costs
from nas.devices.interval import interval_ms
from nas.devices.profile import load_device
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED as OWN_STYLE
from tests.nas.comparison.made import trained
from workbench.errors import BadInput
from zoo.families.card import load_cards


def test_rivals_are_costed_on_our_rulers_and_quoted_from_their_cards() -> None:
    comparison = compare([], ["t4", "a40"], only=["damo-yolo"])
    assert [row.name for row in comparison.rows] == [
        card.model for card in load_cards().values() if card.family == "damo-yolo"
    ]
    t4 = load_device("t4")
    for row in comparison.rows:
        card = load_cards()[row.name]
        costs = graph_costs(lower(OWN_STYLE[row.name]), card.input_px, t4).costs
        interval = interval_ms(t4, costs["latency_ms"])
        assert interval is not None and row.accuracy is not None
        assert (row.params, row.flops, row.input_px) == (card.measured_params, card.measured_flops, card.input_px)
        reading = row.values["t4"]
        assert (
            math.isclose(reading.value, costs["latency_ms"])
            and math.isclose(reading.most, interval.high_ms)
            and reading.least < reading.value
        )
        assert (row.accuracy.ap, row.accuracy.series, row.accuracy.source) == (card.ap, PUBLISHED, card.source)
        assert (row.licence, row.nms, row.kind) == ("Apache-2.0", "needed", ZOO)
        assert ("source", card.source) in row.facts
    assert [axis.key for axis in comparison.axes] == ["t4", "a40", "flops", "params"]


def test_other_families_are_traced_and_know_whether_they_need_suppression() -> None:
    pytest.importorskip("torch")
    comparison = compare([], ["t4"], only=["yolo26n", "rtdetrv2-s", "yolo11n"])
    rows = {row.name: row for row in comparison.rows}
    assert {name: row.nms for name, row in rows.items()} == {
        "yolo26n": "none",
        "rtdetrv2-s": "none",
        "yolo11n": "needed",
    }
    for name, row in rows.items():
        assert (row.params, row.flops) == (load_cards()[name].measured_params, load_cards()[name].measured_flops)
    assert rows["yolo26n"].accuracy is not None and "one-to-many" in rows["yolo26n"].accuracy.note


def test_a_search_brings_its_best_without_any_ap(searched: Path) -> None:
    result = json.loads((searched / "result.json").read_text())
    comparison = compare([str(searched)], ["t4"], only=["damo-yolo-t"], top=3)
    best, second, third, rival = comparison.rows
    assert (best.name, best.kind, best.accuracy, best.digest) == ("found", SEARCHED, None, result["best"]["digest"])
    assert math.isclose(best.values["t4"].value, result["best"]["costs"]["latency_ms"])
    assert best.params == result["best"]["costs"]["params"]
    assert (second.name, third.name, rival.name) == ("found #2", "found #3", "damo-yolo-t")
    assert len({best.digest, second.digest, third.digest}) == 3


def test_trainings_bring_their_ap_by_validation_set(tmp_path: Path) -> None:
    plain, other = trained(tmp_path / "plain", 0.31), trained(tmp_path / "other", 0.5, val_sha256="w" * 64)
    learnt = {"model": "yolo11m", "licence": "AGPL-3.0", "sha256": "0" * 64}
    taught = trained(tmp_path / "taught", 0.36, finished=False, lineage=(learnt,))
    comparison = compare([str(plain), str(taught / "best.safetensors"), str(other)], ["t4"], only=[])
    a, b, c = comparison.rows
    names = [row.name for row in comparison.rows]
    assert names == ["plain", "taught", "other"] and {row.kind for row in comparison.rows} == {TRAINED}
    assert a.accuracy is not None and b.accuracy is not None and c.accuracy is not None
    assert (round(a.accuracy.ap, 6), round(b.accuracy.ap, 6)) == (31.0, 36.0)
    assert a.accuracy.series == b.accuracy.series != c.accuracy.series
    assert [series.label for series in comparison.series] == ["own AP on boxes", "own AP on boxes (2)"]
    assert a.licence == "yours" and b.licence == "yours, from yolo11m (AGPL-3.0)"
    assert b.accuracy.budget is not None and not b.accuracy.budget.finished and "has not finished" in b.accuracy.note
    assert a.input_px == 96 and a.family == "damo-yolo"


def test_weights_that_were_never_evaluated_have_no_ap(tmp_path: Path) -> None:
    comparison = compare([str(trained(tmp_path / "raw", None))], ["t4"], only=[])
    assert comparison.rows[0].accuracy is None and comparison.series == ()


@pytest.mark.parametrize("ap", [1.5, -0.1, "much", True, None])
def test_an_ap_that_is_none_is_refused(tmp_path: Path, ap: object) -> None:
    folder = trained(tmp_path / "run", None, val={"ap": ap})
    with pytest.raises(BadInput, match="AP of the validation"):
        compare([str(folder)], ["t4"], only=[])


def bench(file: Path, **changes: object) -> Path:
    """What ``nas bench --json`` prints for damo-yolo-ns at 416 px, with changes."""
    network = {
        "model": "damo-yolo-ns",
        "name": "damo-yolo-ns",
        "height": 416,
        "width": 416,
        "p50_ms": 20.0,
        "interval_ms": [19.5, 20.5],
    }
    data = {
        "device": "cpu",
        "hardware": "Some CPU",
        "runtime": "ONNX Runtime 1, 2 threads",
        "threads": 2,
        "precision": "FP32",
        "networks": [network | changes],
    }
    file.write_text(json.dumps(data))
    return file


def test_bench_results_find_their_row_and_only_at_their_size(tmp_path: Path) -> None:
    comparison = compare([], ["t4"], only=["damo-yolo-ns", "damo-yolo-nm"], bench=[str(bench(tmp_path / "b.json"))])
    axis = next(axis for axis in comparison.axes if axis.kind == MEASURED)
    assert "Some CPU" in axis.label and axis.label.count("threads") == 1
    ns, nm = comparison.rows
    assert (ns.values[axis.key].value, ns.values[axis.key].low, ns.values[axis.key].high) == (20.0, 19.5, 20.5)
    assert axis.key not in nm.values and comparison.notes == ()
    apart = compare([], ["t4"], only=["damo-yolo-ns"], bench=[str(bench(tmp_path / "c.json", height=320, width=320))])
    assert all(axis.kind != MEASURED for axis in apart.axes)
    assert apart.notes == ("c.json: measured but not among the rows at that input size: damo-yolo-ns at 320 px",)


def test_bench_results_find_a_checkpoint_by_what_it_was_called(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", 0.3)
    file = bench(tmp_path / "b.json", model=str(run / "best.safetensors"), name="best", height=96, width=96)
    (row,) = compare([str(run / "best.safetensors")], ["t4"], only=[], bench=[str(file)]).rows
    assert [reading.value for key, reading in row.values.items() if key.startswith("measured-")] == [20.0]
    assert str(tmp_path) not in json.dumps(row_dict(row))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"p50_ms": -1}, "p50_ms -1"),
        ({"interval_ms": [1]}, "two numbers"),
        ({"interval_ms": [30, 40]}, "outside its interval"),
        ({"height": None}, "height None"),
    ],
)
def test_damaged_bench_results_are_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        compare([], ["t4"], only=["damo-yolo-ns"], bench=[str(bench(tmp_path / "b.json", **changes))])


def test_measured_finalists_find_their_row_by_architecture(searched: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "copy"
    shutil.copytree(searched, run)
    best = json.loads((run / "result.json").read_text())["best"]["digest"]
    finalist = {"name": "found-1", "digest": best, "p50_ms": 60.0, "interval_ms": [59.0, 61.0]}
    anchor = finalist | {
        "name": "damo-yolo-t",
        "digest": OWN_STYLE["damo-yolo-t"].digest(),
        "p50_ms": 50.0,
        "interval_ms": [49.0, 51.0],
    }
    unknown = finalist | {"name": "found-2", "digest": "0" * 12}
    measured = {
        "format": "nas-measured-1",
        "hardware": "Some CPU",
        "runtime": "ORT",
        "input_px": 640,
        "finalists": [finalist, unknown],
        "anchor": anchor,
    }
    (run / "measured.json").write_text(json.dumps(measured))
    comparison = compare([str(run)], ["t4"], only=["damo-yolo-t"])
    axis = next(axis for axis in comparison.axes if axis.kind == MEASURED)
    assert [row.values[axis.key].value for row in comparison.rows] == [60.0, 50.0]
    assert comparison.notes == (
        "copy/measured.json: measured but not among the rows at that input size: found-2 at 640 px",
    )


def test_files_and_names_that_repeat(searched: Path, tmp_path: Path) -> None:
    again = tmp_path / "found.yaml"
    again.write_text((searched / "best.yaml").read_text())
    comparison = compare([str(searched), str(again), "damo-yolo-s"], ["t4"], only=["damo-yolo-s"])
    assert [row.name for row in comparison.rows] == ["found", "found (2)", "damo-yolo-s"]
    assert comparison.rows[0].values == comparison.rows[1].values


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("result.json", "{", "is not JSON"),
        ("result.json", "[]", "must hold a JSON object"),
        ("result.json", '{"best": {}}', "not the result of a search"),
        (None, "", "holds neither result.json"),
    ],
)
def test_damaged_runs_are_named(tmp_path: Path, name: str | None, content: str, words: str) -> None:
    if name is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=words):
        compare([str(tmp_path)], ["t4"], only=[])


def test_our_own_models_are_compared_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from nas.comparison.gather import compare\nfrom nas.comparison.page import page\n"
        "assert len(page(compare([], ['t4'], only=['damo-yolo']), 'All')) > 1000\n"
        "try: compare([], ['t4'], only=['yolox-nano'])\n"
        "except ValueError as error: assert 'torch' in str(error) and '--only damo-yolo' in str(error)\n"
        "else: raise AssertionError('a rival was traced without torch')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nothing_to_compare_and_unknown_names() -> None:
    for words, named, only, devices in (
        ("nothing to compare", [], [], ["t4"]),
        ("did you mean", ["yolo11q"], [], ["t4"]),
        ("device", [], None, ["t5"]),
        ("model of the zoo", [], ["nope"], ["t4"]),
    ):
        with pytest.raises(BadInput, match=words):
            compare(named, devices, only=only)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.8684, "0.868"),
        (2.2776, "2.28"),
        (15.54, "15.5"),
        (99.96, "100.0"),
        (100.4, "100"),
        (11415.6, "11,416"),
        (None, "–"),
    ],
)
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_models_of_the_zoo_at_another_side_have_its_costs_and_no_published_ap() -> None:
    own, small = (compare(devices=["t4"], only=["damo-yolo-t"], input_px=px).rows[0] for px in (None, 192))
    assert own.accuracy is not None and own.input_px == 640
    assert small.accuracy is None and small.input_px == 192
    assert small.flops == pytest.approx(own.flops * (192 / 640) ** 2, rel=0.01)
    assert ("AP", f"{100 * own.accuracy.ap:.1f} is published at 640 px, not at 192 px") in small.facts
    with pytest.raises(BadInput, match="must be a multiple of 32"):
        compare(input_px=100)


def test_a_find_is_compared_at_its_own_side(tmp_path: Path) -> None:
    """Spaces with several input sides write the side of each find into its file."""
    found = nas.search(
        "3ms", "t4", space="nano", strategy="evolution", steps=256, population=64, runs=tmp_path, pictures=False
    )
    best = found.best.architecture
    assert best.input_px not in (None, 640)
    (row,) = compare([str(found.folder)], ["t4"], only=[]).rows
    assert row.input_px == best.input_px
    assert row.values["t4"].value == pytest.approx(found.best.costs["latency_ms"], rel=1e-6)
