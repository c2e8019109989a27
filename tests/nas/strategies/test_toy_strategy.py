"""A new strategy is one file and one line: added to the public dict and used through the public function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

import nas
from nas.cli import main
from nas.searcher.evaluator import Evaluation
from nas.strategies import STRATEGIES
from nas.strategies.options import SamplingOptions, StrategyOptions
from nas.strategies.strategy import SamplingStrategy, StrategyContext


@dataclass(frozen=True)
class LocalOptions(SamplingOptions):
    """``moves``: neighbours of the best row an ask."""

    moves: int = 8


class LocalSearch(SamplingStrategy):
    """Hill climbing from one random row."""

    name: ClassVar[str] = "local"
    options_type: ClassVar[type[StrategyOptions]] = LocalOptions

    def __init__(self, context: StrategyContext, options: LocalOptions) -> None:
        super().__init__(context, options)
        self.moves, self.rng = options.moves, np.random.default_rng(context.seed)
        self.best, self.score = context.space.sample(1, self.rng), 0.0

    def ask(self) -> np.ndarray:
        count = min(self.moves, self.steps - self.candidates)
        return self.context.space.mutate(np.repeat(self.best, count, axis=0), self.rng)

    def tell(self, rows: np.ndarray, evaluation: Evaluation) -> None:
        self._told += len(rows)
        usable = evaluation.usable
        if len(usable) and evaluation.score[usable].max() > self.score:
            place = usable[evaluation.score[usable].argmax()]
            self.best, self.score = rows[place : place + 1], float(evaluation.score[place])

    def state(self) -> dict[str, Any]:
        rng = self.rng.bit_generator.state
        return {"told": self._told, "best": self.best.tolist(), "score": self.score, "rng": rng}

    def restore(self, state: dict[str, Any]) -> None:
        self._told, self.best, self.score = state["told"], np.array(state["best"]), state["score"]
        self.rng.bit_generator.state = state["rng"]


@pytest.fixture(autouse=True)
def _one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "local", f"{__name__}:LocalSearch")


def test_it_searches(tmp_path: Path) -> None:
    result = nas.search("30Mparams", strategy="local", steps=400, options={"moves": 16}, runs=tmp_path, pictures=False)
    assert result.candidates == 400 and result.certificate is None
    assert result.best.costs["params"] <= 30e6
    settings = yaml.safe_load((result.folder / "settings.yaml").read_text())
    assert (settings["strategy"], settings["steps"], settings["options"]) == ("local", 400, {"moves": 16})
    usual = nas.search("30Mparams", strategy="local", steps=400, runs=tmp_path, pictures=False)
    assert "options" not in usual.settings and usual.folder != result.folder


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "search",
        "--budget",
        "30Mparams",
        "--strategy",
        "local",
        "--runs",
        str(tmp_path),
        "--no-pictures",
        "--quiet",
    ]
    assert main([*command, "--set", "steps=200", "--set", "moves=4", "--name", "r"]) == 0
    assert "200 candidates" in capsys.readouterr().out
    assert main([*command, "--set", "move=4"]) == 2
    assert (
        "did you mean moves? options and their defaults: steps=200000, population=512, moves=8"
        in capsys.readouterr().err
    )
