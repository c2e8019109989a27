"""What TensorBoard is given of a search: read back through TensorBoard's own reader."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from nas.budgets import parse_budgets
from nas.costs import SpaceCosts, architecture_costs
from nas.devices.profile import load_device
from nas.report.graph_nodes import IMAGE, graph_nodes
from nas.report.search_board import FrontAnimation, Scale, finalist_settings, show_embedding
from nas.scores.maxent import MAXENT
from nas.searcher.api import search
from nas.searcher.evaluator import whole_limits
from nas.searcher.front import Front
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space
from workbench.events import METRIC_FOLDER, EventWriter, png_size

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search("2.4ms", "t4", name="found", runs=tmp_path_factory.mktemp("runs"), top_k=2).folder


def test_every_finalist_is_a_run_with_metrics_picture_and_network(run: Path) -> None:
    files = sorted((run / "top").glob("*.yaml"))
    assert len(files) == 2 and sorted(folder.name for folder in (run / "events" / "top").iterdir()) == ["1", "2"]
    for place, file in enumerate(files, start=1):
        arch, held = Architecture.load(file), read(run / "events" / "top" / str(place))
        costs = architecture_costs(arch, 640, load_device("t4")).costs
        for tag, value in (("latency_ms", costs["latency_ms"]), ("gflops", costs["flops"] / 1e9), ("params_m", costs["params"] / 1e6), ("layers", costs["layers"])):
            assert held.Scalars(METRIC_FOLDER + tag)[0].value == pytest.approx(value, rel=1e-6)
        assert png_size(held.Images("views/network")[0].encoded_image_string)[0] > 600
        nodes = GraphDef.FromString(held.Graph().SerializeToString()).node
        assert [node.name for node in nodes] == [node.name for node in graph_nodes(lower(arch), 640)]


def test_curves_and_front_are_in_the_units_people_read(run: Path) -> None:
    held = read(run / "events")
    assert {"search/best_score", "search/front_hypervolume", "search/front_points", "search/candidates_per_s"} <= set(held.Tags()["scalars"])
    with (run / "front.csv").open() as file:
        front = sorted((float(row["latency_ms"]), float(row["score"])) for row in csv.DictReader(file))
    area = sum(score * (after - ms) for (ms, score), (after, _) in zip(front, [*front[1:], (2.4, 0.0)], strict=True))
    assert held.Scalars("search/front_hypervolume")[-1].value == pytest.approx(area, rel=1e-5)
    assert "views/front" in held.Tags()["images"]


def test_the_projector_has_a_point_for_every_candidate_of_the_front(run: Path) -> None:
    with (run / "front.csv").open() as file:
        front = list(csv.DictReader(file))
    points = np.loadtxt(run / "events" / "points.tsv", delimiter="\t", ndmin=2)
    heading, *facts = (run / "events" / "facts.tsv").read_text().splitlines()
    assert len(points) == len(facts) == len(front)
    assert np.allclose(points.mean(0), 0, atol=1e-4) and np.allclose(points.std(0), 1, atol=1e-4)
    assert heading.split("\t")[:3] == ["score", "ms", "GFLOPs"]
    assert float(facts[-1].split("\t")[1]) == pytest.approx(float(front[0]["latency_ms"]), abs=1e-3)


def test_a_front_of_one_has_no_embedding_and_a_long_one_is_thinned(tmp_path: Path) -> None:
    space = load_space("res")
    rows = space.sample(5000, np.random.default_rng(0))
    scores, costs = np.arange(5000.0), {"latency_ms": np.linspace(1, 3, 5000)}
    with EventWriter(tmp_path / "one") as events:
        show_embedding(events, space, rows[:1], scores[:1], {"latency_ms": costs["latency_ms"][:1]})
    assert not (tmp_path / "one" / "points.tsv").exists()
    with EventWriter(tmp_path / "many") as events:
        show_embedding(events, space, rows, scores, costs)
    facts = (tmp_path / "many" / "facts.tsv").read_text().splitlines()[1:]
    assert len(facts) == 2000 and facts[0].startswith("0\t1\t") and facts[-1].startswith("4999\t3\t")


def test_the_film_takes_few_pictures_however_often_it_is_asked(tmp_path: Path) -> None:
    space = load_space("res")
    rulers = SpaceCosts(space, load_device("t4"))
    limit = whole_limits(rulers, parse_budgets(["3ms"]))[0]
    front = Front(space.genes)
    rows = space.sample(64, np.random.default_rng(1))
    front.add(rows, MAXENT.over_rows(rulers).total(rows).astype(float), rulers.costs(rows)["latency_ms"])
    with EventWriter(tmp_path) as events:
        film = FrontAnimation(events, Scale(rulers, limit), "study", "score")
        for second in range(1, 1000):
            film.show(front, second * 100, float(second))
    frames = read(tmp_path).Images("views/front_over_time")
    assert 3 <= len(frames) <= 12 and film.spent_s < 0.1 * 1000
    steps = [frame.step for frame in frames]
    assert steps == sorted(steps) and steps[0] >= 200


@pytest.mark.parametrize("name", ["damo-yolo-s", "damo-yolo-ns"])
def test_nodes_are_unique_connected_and_add_up(name: str) -> None:
    graph = lower(PUBLISHED[name])
    nodes = graph_nodes(graph, 416)
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names) == len(graph) + 1 and names[0] == IMAGE
    for at, node in enumerate(nodes):
        assert set(node.inputs) <= set(names[:at])
    table = graph.table(416)
    parameters = sum(int(node.facts["parameters"].replace(",", "")) for node in nodes if node.facts)
    assert parameters == int(table.total(table.params))
    assert nodes[-1].shape[1:] == (13, 13)


def test_settings_name_kernels_only_where_they_differ() -> None:
    assert "kernels" not in finalist_settings(PUBLISHED["damo-yolo-s"])
    assert finalist_settings(PUBLISHED["damo-yolo-s"])["widths"] == "32 128 128 256 256 512"
