"""What a zero-shot score is: one object that states its name, its function over a Graph and what it needs."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.costs import SpaceCosts
from nas.scores.rows import RowScore
from nas.scores.variant_rows import rows_by_variant, unfit_by_variant
from search_spaces.graph import Graph
from search_spaces.ops import Op
from search_spaces.space import Space
from workbench.errors import BadInput, missing_package

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ScoreResult:
    """A score of one network.

    ``per_stage``: its terms by resolution level, finest first; empty where there are none. ``notes``: further results.
    """

    value: float
    per_stage: tuple[float, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


class Observer(abc.ABC):
    """Sees the tensors of every op during one forward pass and computes a score from them."""

    @abc.abstractmethod
    def __call__(self, index: int, op: Op, before: Tensor, after: Tensor) -> None:
        """Take one op's tensors ``[batch, channels, h, w]`` before and after its activation."""

    @abc.abstractmethod
    def value(self) -> float:
        """The score, after the pass."""

    def notes(self) -> dict[str, Any]:
        """Further results."""
        return {}


@dataclass(frozen=True)
class Observation:
    """How a score is computed by an observer: images a batch, and ``make(graph, px, seed)``."""

    batch: int
    make: Callable[[Graph, int, int], Observer]


@dataclass(frozen=True)
class Filter:
    """Networks that a search must not choose, whatever their score; ``reason`` completes "… candidates were"."""

    rejects: Callable[[ScoreResult, Space], bool]
    reason: str


@dataclass(frozen=True)
class Score:
    """One score.

    Args:
        compute: ``compute(graph, input_px, **options) -> ScoreResult``; its keyword parameters are the score's options.
        rows: For an additive score, its form over rows of a space, which takes the same options.
        needs_torch: Whether it runs a network.
        deployed: Whether it is defined on the whole deployed detector instead of TinyNAS's skeleton of the backbone.
        explain: What a result means, as one line for people.
        filter: Which networks a search must not choose.
        observation: How to share a forward pass with other scores.
        fitted_terms: For a score fitted to trained detectors, the notes that hold its terms.
    """

    name: str
    doc: str
    compute: Callable[..., ScoreResult]
    rows: type[RowScore] | None = None
    needs_torch: bool = False
    deployed: bool = False
    explain: Callable[[ScoreResult], str] | None = None
    filter: Filter | None = None
    observation: Observation | None = None
    fitted_terms: tuple[str, ...] = ()

    def __call__(self, graph: Graph, input_px: int, **options: Any) -> ScoreResult:
        """Score ``graph`` at ``input_px`` pixels."""
        if not len(graph):
            raise BadInput(f"score {self.name!r} needs a network: graph {graph.name!r} has no ops")
        try:
            return self.compute(graph, input_px, **options)
        except ModuleNotFoundError as error:
            raise missing_package(f"score {self.name!r}", error.name, "torch") from error

    @property
    def additive(self) -> bool:
        """Whether it is a sum over blocks, so that the exact search applies."""
        return self.rows is not None

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the score's own options."""
        return tuple(inspect.signature(self.compute).parameters)[2:]

    def own(self, **available: Any) -> dict[str, Any]:
        """Those of the available values that are options of this score."""
        return {name: value for name, value in available.items() if name in self.options}

    def over_rows(self, costs: SpaceCosts, **options: Any) -> RowScore:
        """The additive form over rows of the space of ``costs``."""
        if self.rows is None:
            raise BadInput(f"score {self.name!r} is not a sum over blocks: it has no form over rows")
        return rows_by_variant(self.rows, costs, **options)

    def unfit(self, costs: SpaceCosts) -> str:
        """Why an additive score cannot be computed in a space, completing "the score …"; empty where it can."""
        return "" if self.rows is None else unfit_by_variant(self.rows, costs)
