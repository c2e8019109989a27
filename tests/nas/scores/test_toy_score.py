"""A new score is one file and one line: these are added to the public dict and used through the public functions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import nas
from nas.cli import main
from nas.costs import SpaceCosts
from nas.scores import SCORES, Score, ScoreResult
from nas.scores.rows import RowScore, log_ticks
from search_spaces.graph import Graph
from search_spaces.ops import Num
from search_spaces.published import PUBLISHED
from workbench.errors import BadInput


def ops(graph: Graph, input_px: int, base: float = 10.0) -> ScoreResult:
    """Logarithm of the number of ops."""
    return ScoreResult(math.log(len(graph), base), notes={"base": base})


OPS = Score("ops", "log of the number of ops", ops, explain=lambda result: f"in powers of {result.notes['base']:g}")


def widths(graph: Graph, input_px: int, seed: int = 0) -> ScoreResult:
    """Sum of ln of the output channels of the stages of TinyNAS's skeleton."""
    shapes = graph.shapes(input_px)
    ends = [index for index in range(len(graph)) if index in graph.meta["levels"]]
    return ScoreResult(math.fsum(math.log(shapes[index][0]) for index in ends))


class WidthRows(RowScore):
    """The same over rows: every level ends with the last of its stages."""

    def __init__(self, costs: SpaceCosts, seed: int = 0) -> None:
        super().__init__(costs)
        strides = [stage.stride for stage in costs.space.stages]
        self.ends = [i + 1 == len(strides) or strides[i + 1] == 2 for i in range(len(strides))]

    def stem(self, out: Num) -> Num:
        return log_ticks(1.0, out)

    def stage(self, index: int, cin: Num, out: Num, btn: Num, k: Num, depth: Num, kind: int = 0) -> Num:
        return log_ticks(float(self.ends[index]), out)


WIDTHS = Score("widths", "sum of ln of widths", widths, WidthRows)


@pytest.fixture(autouse=True)
def _one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORES, "ops", OPS)
    monkeypatch.setitem(SCORES, "widths", WIDTHS)


def test_a_plain_score_scores_and_is_searched_by_sampling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert OPS.options == ("base",) and not OPS.additive
    assert nas.score("damo-yolo-s", "ops").value == pytest.approx(math.log10(len(ops_graph("damo-yolo-s"))))
    assert main(["score", "damo-yolo-s", "--score", "ops"]) == 0
    assert "damo-yolo-s: in powers of 10" in capsys.readouterr().out
    result = nas.search("30Mparams", score="ops", steps=64, grid=32, runs=tmp_path, pictures=False)
    assert result.problem.score == "ops" and "ops" in result.best.scores and result.certificate is None
    with pytest.raises(BadInput, match="not a sum over blocks"):
        nas.search("30Mparams", score="ops", strategy="exact", grid=32, runs=tmp_path, pictures=False)


def ops_graph(model: str) -> Graph:
    from search_spaces.lowering import skeleton

    return skeleton(PUBLISHED[model])


def test_an_additive_score_is_searched_exactly(tmp_path: Path) -> None:
    result = nas.search("20GFLOPs", score="widths", grid=32, scope="backbone", runs=tmp_path, pictures=False)
    assert result.certificate is not None and result.certificate["proved"]
    assert result.best.scores["widths"] == pytest.approx(nas.score(result.best.architecture, "widths").value, rel=1e-9)
    assert list(result.best.scores) == ["widths", "calibrated", "forecast", "maxent"], "every additive score is shown"
    row = np.array([result.front[-1]["row"]])
    assert WIDTHS.over_rows(result.problem.space_costs).total(row)[0] * 2.0**-32 == pytest.approx(result.best.score)


def test_a_score_takes_its_own_options_only() -> None:
    graph = ops_graph("damo-yolo-s")
    assert OPS.own(base=2.0, seed=1, weights=(1.0,)) == {"base": 2.0}
    assert OPS(graph, 320, base=2.0).value == pytest.approx(math.log2(len(graph)))
    with pytest.raises(TypeError, match="seed"):
        OPS(graph, 320, seed=1)
    with pytest.raises(BadInput, match="no form over rows"):
        OPS.over_rows(SpaceCosts(nas_space(), None))


def nas_space():  # type: ignore[no-untyped-def]
    from search_spaces.space_file import load_space

    return load_space("res")
