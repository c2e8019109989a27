"""The model of the fit: shared slopes, recipe terms, and remainders of families and networks as random effects.

``-ln(1 - AP)`` of a point is its source's offset, plus the source's scale times the sum of architecture terms, plus
recipe terms, plus a remainder of its family, one of its network and one of the single training. Sources other than COCO
also have an input slope of their own: they train, or only evaluate, at several sizes. Slopes and recipe effects are
non-negative. A recipe effect has a prior of mean 0, so that what only one family does stays with the family.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from nas.evidence.forecast.evidence import COCO, LARGER, Evidence
from nas.evidence.forecast.recipe_terms import RECIPE_TERMS
from nas.scores.forecast_terms import TERMS, Form

ON_SCALE = (COCO, LARGER)
"""Sources on the scale of COCO AP itself."""
RECIPE_PRIOR = 0.05
"""Standard deviation of a recipe effect before the data: about 2.5 AP points at 50 AP, what papers report."""
SCALES = (0.1, 5.0)
ROUNDS, SETTLED = 50, 1e-3
"""Most rounds, and the change of a scale that ends them."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the remainders of one source: of a training, a network and a family."""

    training: float
    network: float
    family: float


SPREADS = {COCO: Spread(0.006, 0.035, 0.07), LARGER: Spread(0.006, 0.035, 0.07)}
OTHER = Spread(0.02, 0.03, 0.03)
"""Of the COCO sources and of others: about the most likely ones, rounded. Fitted anew for every source they move with
the form, and a source of little scatter then outweighs all others."""


class Columns(Protocol):
    """What enters a fit: named groups of terms, and a column ``[n]`` for each; one group is ``("size",)``."""

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]: ...

    def columns(self, evidence: Evidence) -> np.ndarray: ...


@dataclass(frozen=True)
class Design:
    """How the terms of the score enter.

    Args:
        form: What is read.
        groups: Terms that share one coefficient, each a column of the fit.
        root: Terms of which the square root enters. For comparison only: roots are no sums.
    """

    form: Form = field(default_factory=Form)
    groups: tuple[tuple[str, ...], ...] = (("size",), ("widths",), ("heads",), ("depth",), ("attention",))
    root: tuple[str, ...] = ()

    def columns(self, evidence: Evidence) -> np.ndarray:
        """The columns of the fit, ``[n, groups]``."""
        terms = dict(zip(TERMS, evidence.terms(self.form).T, strict=True))
        terms |= {name: np.sqrt(terms[name]) for name in self.root}
        return np.column_stack([sum(terms[name] for name in group) for group in self.groups])


@dataclass(frozen=True)
class Fit:
    """A fitted model: a slope a column, recipe effects, and by source the scale, offset and extra input slope."""

    groups: tuple[tuple[str, ...], ...]
    slopes: np.ndarray
    recipes: np.ndarray
    scale: dict[str, float]
    offset: dict[str, float]
    extra_size: dict[str, float]

    def score(self, columns: np.ndarray) -> np.ndarray:
        """The score on the scale of COCO ``[n]`` of columns ``[n, groups]``, whatever a point's source."""
        return np.asarray(self.offset[COCO] + columns @ self.slopes)

    def predict(self, evidence: Evidence, columns: np.ndarray) -> np.ndarray:
        """``-ln(1 - AP)`` ``[n]`` on each source's own scale with the recipe; a source not fitted counts as COCO."""
        total, size = columns @ self.slopes, columns[:, self.groups.index(("size",))]
        found = evidence.recipes @ self.recipes
        for source in evidence.sources:
            rows = evidence.source == source
            known = source if source in self.offset else COCO
            found[rows] += self.offset[known] + self.scale[known] * total[rows]
            found[rows] += self.extra_size.get(known, 0.0) * size[rows]
        return np.asarray(found)

    def by_term(self) -> dict[str, float]:
        """The coefficient of every term; 0 for a term that does not enter."""
        found = dict.fromkeys(TERMS, 0.0)
        for group, slope in zip(self.groups, self.slopes, strict=True):
            found |= dict.fromkeys(group, float(slope))
        return found


class Whitened:
    """A problem freed from its correlations, as sums of products, so that a fit to some groups takes a millisecond.

    Points of one family in one source are decorrelated. Then ``products[group, source]`` holds the sums of products of
    the columns ``[terms, recipes, y, offset]``, and a fit adds up those of the groups that it sees.

    Args:
        evidence: The points.
        design: The columns.
    """

    def __init__(self, evidence: Evidence, design: Columns) -> None:
        self.evidence, self.design = evidence, design
        self.columns = design.columns(evidence)
        joined = np.column_stack([self.columns, evidence.recipes, evidence.y, np.ones(len(evidence))])
        self.products: dict[tuple[str, str], np.ndarray] = {}
        self.several_sizes = {
            source for source in evidence.sources
            if source not in ON_SCALE and len(set(evidence.input_px[evidence.source == source].tolist())) > 1
        }  # fmt: skip
        size = (joined.shape[1], joined.shape[1])
        for source in evidence.sources:
            spread = SPREADS.get(source, OTHER)
            for family in np.unique(evidence.family[evidence.source == source]):
                rows = np.flatnonzero((evidence.source == source) & (evidence.family == family))
                root = np.linalg.cholesky(covariance_of(evidence.name[rows], spread))
                white = np.linalg.solve(root, joined[rows]) / np.sqrt(evidence.columns[rows])[:, None]
                key = str(evidence.group[rows[0]]), source
                self.products[key] = self.products.get(key, np.zeros(size)) + white.T @ white

    def fit(self, groups: Collection[str]) -> Fit:
        """Fit to the points of these groups: slopes, then scales, in turn until they stay."""
        sums: dict[str, np.ndarray] = {}
        for (group, source), products in self.products.items():
            if group in groups:
                sums[source] = sums[source] + products if source in sums else products
        terms = len(self.design.groups)
        size, last = self.design.groups.index(("size",)), next(iter(sums.values())).shape[0] - 1
        free = {source: [last, size] if source in self.several_sizes else [last] for source in sums}
        inner = np.stack([_without(products, free[source]) for source, products in sums.items()])
        fixed = np.array([source in ON_SCALE for source in sums])
        scales, known = np.ones(len(sums)), np.zeros(last - 1)
        for _ in range(ROUNDS):
            factors = np.ones((len(sums), last))
            factors[:, :terms] = scales[:, None]
            known = _non_negative((inner * factors[:, :, None] * factors[:, None, :]).sum(axis=0), terms)
            new = np.where(fixed, 1.0, _scales(inner, known[:terms]))
            settled = float(np.abs(new - scales).max()) < SETTLED
            scales = new
            if settled:
                break
        scale = dict(zip(sums, scales.tolist(), strict=True))
        rest = {source: _free(sums[source], free[source], terms, scale[source], known) for source in sums}
        return Fit(
            self.design.groups, known[:terms], known[terms:], scale,
            {source: float(values[0]) for source, values in rest.items()},
            {source: float(values[1]) for source, values in rest.items() if len(values) > 1},
        )  # fmt: skip


def _without(products: np.ndarray, free: list[int]) -> np.ndarray:
    """Sums of products of what the free columns leave of the others, ``[terms + recipes + 1]`` squared (y last)."""
    across = products[:-1, free]
    return np.asarray(products[:-1, :-1] - across @ np.linalg.pinv(products[free][:, free]) @ across.T)


def _non_negative(products: np.ndarray, terms: int) -> np.ndarray:
    """Non-negative least squares from sums of products (y last), recipe effects with their prior."""
    from scipy.optimize import nnls  # type: ignore[import-untyped]

    columns, target = products[:-1, :-1].copy(), products[:-1, -1]
    columns[np.arange(terms, len(columns)), np.arange(terms, len(columns))] += RECIPE_PRIOR**-2
    unit = np.sqrt(np.diag(columns)) + 1e-12
    correlated = columns / unit[:, None] / unit[None, :] + 1e-9 * np.eye(len(columns))
    root = np.linalg.cholesky(correlated).T
    solution, _ = nnls(root, np.linalg.solve(root.T, target / unit))
    return np.asarray(solution / unit)


def _scales(products: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Least-squares scale of every source ``[sources]``, within ``SCALES``."""
    count = len(slopes)
    square = np.einsum("i,sij,j->s", slopes, products[:, :count, :count], slopes)
    across = products[:, :count, -1] @ slopes
    scales = np.divide(across, square, out=np.ones(len(products)), where=square > 0)
    return np.asarray(np.clip(scales, *SCALES))


def _free(products: np.ndarray, free: list[int], terms: int, scale: float, known: np.ndarray) -> np.ndarray:
    """Offset of a source, and its extra input slope where it has one."""
    factors = np.concatenate([np.full(terms, scale), np.ones(len(known) - terms)])
    y = len(known)
    target = products[free, y] - products[free, :y] @ (factors * known)
    return np.asarray(np.linalg.pinv(products[free][:, free]) @ target)


def covariance_of(names: np.ndarray, spread: Spread) -> np.ndarray:
    """Covariance ``[n, n]`` of the points of one family in one source."""
    same = names[:, None] == names[None, :]
    return np.asarray(
        spread.training**2 * np.eye(len(names)) + spread.network**2 * same + spread.family**2 * np.ones(same.shape)
    )


def to_plain(fit: Fit) -> dict[str, Any]:
    """The numbers of a fit, JSON-ready."""
    names: Sequence[str] = list(RECIPE_TERMS)
    return {
        "coefficients": {"intercept": fit.offset[COCO], **fit.by_term()},
        "recipes": dict(zip(names, map(float, fit.recipes), strict=True)),
        "sources": {
            source: {
                "scale": fit.scale[source], "offset": fit.offset[source], "extra_size": fit.extra_size.get(source, 0.0),
            }
            for source in fit.offset
        },
    }  # fmt: skip
