"""The atlas from all its sources: entries, clashes of names, and the arrays that scores are judged on."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.detectors.atlas import combined
from nas.detectors.marks import MARKS, compared_size, fit_for_use, mark_of
from nas.detectors.read import kind_of, read_atlas
from nas.detectors.recipes import parse_recipe
from nas.evidence.trained import read_trained, trained_entries, trained_points
from tests.nas.detectors.made import ATLAS, SHARED, folder
from workbench.errors import BadInput

OWN = Path(__file__).resolve().parents[3] / "docs/benchmarks/own-truth"


def test_one_network_under_two_recipes_is_one_graph_with_two_entries(tmp_path: Path) -> None:
    atlas = read_atlas([str(folder(tmp_path))])
    assert len(atlas) == 4 and len(atlas.graphs) == 3
    distilled, plain = (entry for entry in atlas.entries if entry.name == "alpha-s")
    assert (distilled.ap, plain.ap) == (0.32, 0.3)
    assert distilled.recipe.teacher and plain.recipe.coco_only
    assert dict(distilled.figures) == {"coco_val_map50_95": 0.32}
    assert plain.figures["coco_measured_map50_95"] == 0.299 and plain.figures["coco_only_map50_95"] == 0.3
    assert plain.latency == {"board_fp32_ms": 3.5, "board_int8_ms": 1.5}
    assert [(fact.device, fact.ms, fact.batch) for fact in plain.facts] == [("Some Phone", 2.5, 1)]
    assert [pair.int8_ap for pair in plain.int8] == [0.291]
    assert plain.source == "someone/alpha@1:README.md" and plain.licence == ""
    assert atlas.own_size(plain, "params") == 3896


def test_the_arrays_list_the_plain_recipe_and_every_training(tmp_path: Path) -> None:
    atlas = read_atlas([str(folder(tmp_path))])
    points = trained_points(atlas)
    assert list(points.arch) == ["alpha-s", "alpha-l", "beta-s"]
    assert points.target("coco_val_map50_95").tolist() == [0.3, 0.4, 0.35]
    assert points.recipe is not None and [recipe.teacher for recipe in points.recipe] == [False] * 3
    assert points.publisher is not None and points.publisher[2] == "other/beta@2:README.md"
    trainings = trained_entries(atlas)
    assert list(trainings.arch) == ["alpha-s", "alpha-s", "alpha-l", "beta-s"]
    assert trainings.target("coco_val_map50_95").tolist() == [0.32, 0.3, 0.4, 0.35]
    part = trainings.part(np.array([True, False, False, True]))
    assert part.recipe is not None and [recipe.teacher for recipe in part.recipe] == [True, False]


@pytest.mark.parametrize("without", ["trainings.csv", "sizes.csv", "latency.csv", "latency_facts.csv", "int8.csv"])
def test_all_tables_but_accuracies_and_graphs_are_optional(tmp_path: Path, without: str) -> None:
    atlas = read_atlas([str(folder(tmp_path, without=(without,)))])
    points = trained_points(atlas)
    assert points.target("coco_val_map50_95").tolist() == [0.3, 0.4, 0.35]
    if without == "trainings.csv":
        assert [entry.column for entry in atlas.entries if entry.name == "alpha-s"] == list(atlas.accuracy_columns)
    if without == "latency.csv":
        assert points.devices() == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("trainings.csv", "alpha-s [scratch],alpha-s", "x,ghost", "'ghost' has no graph"),
        ("trainings.csv", ",graph,", ",net,", "trainings.csv needs the columns 'graph'"),
        ("trainings.csv", "0.3200", "32", "trainings.csv, line 2: .*fraction"),
        ("sizes.csv", "verdict", "opinion", "sizes.csv needs the column 'verdict'"),
        ("latency_facts.csv", ",2.5,", ",fast,", "latency_facts.csv, line 2: ms='fast'"),
        ("int8.csv", "0.2910", "-", "int8.csv, line 2: int8_map='-'"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    path = folder(tmp_path) / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BadInput, match=message):
        read_atlas([str(tmp_path)])


def test_a_strangers_folder_is_one_more_data(tmp_path: Path) -> None:
    first = folder(tmp_path / "first")
    second = folder(tmp_path / "second")
    for name in ("accuracy.csv", "trainings.csv"):
        text = (second / name).read_text().splitlines()
        (second / name).write_text("\n".join([text[0].replace("coco_val", "mine"), *text[-1:]]) + "\n")
    atlas = read_atlas([str(first), str(second)])
    assert len(atlas) == 5 and len(atlas.points) == 3
    assert atlas.points["beta-s", 96]["mine_map50_95"] == 0.35
    assert len(atlas.part(lambda entry: entry.data == str(second)).entries) == 1


def test_clashes_are_refused_in_one_line(tmp_path: Path) -> None:
    first = read_atlas([str(folder(tmp_path / "first"))])
    other = replace(first, graphs={**first.graphs, "alpha-s": first.graphs["beta-s"]}, data=("other",), _sizes={})
    other = replace(other, entries=tuple(replace(entry, data="other") for entry in other.entries))
    with pytest.raises(BadInput, match="'alpha-s' is another network in other than in"):
        combined([first, other])
    with pytest.raises(BadInput, match="is named twice"):
        read_atlas([str(tmp_path / "first"), str(tmp_path / "first")])
    with pytest.raises(BadInput, match="the atlas has no data"):
        read_atlas([])


def test_a_network_under_nearly_the_same_name_is_the_same_network(tmp_path: Path) -> None:
    first = read_atlas([str(folder(tmp_path / "first"))])
    renamed = replace(
        first,
        entries=tuple(replace(entry, name=entry.name.upper(), data="other") for entry in first.entries),
        graphs={name.upper(): graph for name, graph in first.graphs.items()},
        points={(name.upper(), px): figures for (name, px), figures in first.points.items()},
        latency={(name.upper(), px): ms for (name, px), ms in first.latency.items()},
        data=("other",),
        _sizes={},
    )
    both = combined([first, renamed])
    assert [entry.name for entry in both.entries] == [entry.name for entry in first.entries], "nothing is listed twice"
    further = replace(renamed, entries=tuple(replace(e, recipe=parse_recipe("scratch 9e")) for e in renamed.entries))
    both = combined([first, further])
    assert both.points["alpha-s", 64]["coco_val_map50_95"] == 0.3, "the first source's"
    assert len(both) == 8 and {entry.name for entry in both.entries} == {"alpha-s", "alpha-l", "beta-s"}


def test_marks_decide_by_what_differs(tmp_path: Path) -> None:
    atlas = read_atlas([str(folder(tmp_path))])
    marks = {entry.model: mark_of(entry.size).name for entry in atlas.entries}
    assert marks["alpha-l"] == "training form" and marks["beta-s"] == "larger image"
    assert [fit_for_use(entry) for entry in atlas.entries] == [True, True, True, False]
    none = replace(atlas.entries[0], figures={})
    assert math.isnan(none.ap) and not fit_for_use(none)
    assert all(mark.reason for mark in MARKS.values())


@pytest.mark.parametrize(
    ("params", "flops", "verdict", "mark"),
    [
        (10.05e6, 28.4e9, "agrees", "agrees"),
        (9.5e6, 28.4e9, "differs: params", "near"),
        (6.0e6, 28.4e9, "differs: params", "training form"),
        (10.0e6, 110e9, "differs: gflops", "smaller image"),
        (10.0e6, 20e9, "differs: gflops", "larger image"),
        (14.0e6, 28.4e9, "differs: params", "other network"),
        (6.0e6, 18e9, "differs: params, gflops", "other network"),
    ],
)
def test_own_counts_against_published_ones(params: float, flops: float, verdict: str, mark: str) -> None:
    size = compared_size(params, flops, 10.1, 28.6)
    assert (size.verdict, mark_of(size).name) == (verdict, mark)


def test_a_difference_within_the_rounding_agrees() -> None:
    assert compared_size(1.449e6, 3e9, 1.4, None).verdict == "agrees"
    assert compared_size(1e6, 1e9, None, None).verdict == ""


def test_own_trainings_carry_their_recipe() -> None:
    assert kind_of(str(OWN)) == "own trainings"
    atlas = read_atlas([str(OWN)])
    entry = atlas.entries[0]
    assert entry.recipe.tag == "scratch 3e" and entry.source == "own training" and entry.licence == "yours"
    assert entry.column == "map50_95" and entry.figures.keys() == {"map50_95", "map50_95_seed0", "map50_95_seed1"}


@pytest.mark.parametrize("name", ["atlas", "yolobench"])
def test_the_arrays_are_the_tables(name: str) -> None:
    root = SHARED / name
    if not root.exists():
        pytest.skip(f"{name} is not beside the repository")
    points = read_trained(root)
    with open(root / "accuracy.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arch"], int(row["input_px"])) for row in rows] == list(zip(points.arch, points.input_px, strict=True))
    for column, values in points.accuracy.items():
        told = np.array([float(row[column] or "nan") for row in rows])
        assert np.array_equal(told, values, equal_nan=True), column
    with open(root / "latency.csv", newline="") as file:
        timed = {(row.get("arch") or row["model"], int(row["input_px"])): row for row in csv.DictReader(file)}
    for column, values in points.latency.items():
        cells = [timed.get(key, {}).get(column) for key in zip(points.arch, points.input_px, strict=True)]
        assert np.array_equal(np.array([float(cell or "nan") for cell in cells]), values, equal_nan=True), column


@pytest.mark.skipif(not ATLAS.exists(), reason="the atlas is not beside the repository")
def test_marks_of_the_atlas() -> None:
    atlas = read_atlas([str(ATLAS)])
    used = [entry for entry in atlas.entries if fit_for_use(entry)]
    assert len(atlas) - len(used) == 9 and {entry.family for entry in atlas.entries} - {e.family for e in used} == {
        "DETR", "DINO", "Deformable-DETR",
    }  # fmt: skip
    assert all(entry.licence for entry in atlas.entries if entry.family != "EdgeCrafter")
