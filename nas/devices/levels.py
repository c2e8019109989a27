"""Levels by source: publishers disagree about the same network on the same device, by 5 to 20 %.

A fit to several sources has one set of coefficients and two numbers a source: a factor on the time of all ops (clocks,
power limit, version of the runtime) and a fixed time (work on the host, box decoding). The prediction of a network as a
source would measure it is ``factor x ops + fixed``. One source is the reference: its factor is 1 and its fixed time is
the profile's, so that the profile predicts what that source measures. The levels of the others are drawn to the
reference's; a source with few points stays near it.

A source's name is its laboratory, and after a comma how it measured (``atlas, with host work``). What is measured on
the same machine has the same clocks: sources of one laboratory share their factor and differ in their fixed time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.devices.fit import ROBUST_AT, Problem, Setting, Unknowns
from nas.devices.model import LatencyModel
from workbench.errors import BadInput

FACTOR_SPREAD = 0.1
"""Standard deviation of the logarithm of a source's factor."""
FIXED_SPREAD = 1.0
"""Standard deviation of the logarithm of a source's fixed time over the reference's."""
_STEP = 1e-5


@dataclass(frozen=True)
class Levels:
    """Factor and fixed milliseconds of each source, the reference first."""

    factor: dict[str, float]
    fixed_ms: dict[str, float]

    @property
    def reference(self) -> str:
        """The source that the profile predicts."""
        return next(iter(self.factor))

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Plain data: ``factor`` and ``fixed_ms`` by source."""
        return {name: {"factor": self.factor[name], "fixed_ms": self.fixed_ms[name]} for name in self.factor}

    def apply(self, ops_ms: np.ndarray, sources: Sequence[str]) -> np.ndarray:
        """Milliseconds ``[networks]`` as ``sources`` measure them. One that was not in the fit has the reference's."""
        names = [name if name in self.factor else self.reference for name in sources]
        factor = np.array([self.factor[name] for name in names])
        return factor * ops_ms + np.array([self.fixed_ms[name] for name in names])


@dataclass(frozen=True)
class LeveledFit:
    """A model, and the levels of the sources that it was fitted to."""

    model: LatencyModel
    levels: Levels

    def predict(self, problem: Problem, sources: Sequence[str]) -> np.ndarray:
        """Milliseconds of each network as its source measures it, ``[networks]``."""
        return self.levels.apply(problem.predict(self.model, 0.0), sources)


def fit_levels(problem: Problem, sources: Sequence[str], reference: str, setting: Setting) -> LeveledFit:
    """Fit one model and a level for each source; ``sources`` names that of each network."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    work = _LeveledProblem(problem, sources, reference, setting)
    solution = least_squares(
        work.residuals, work.first, jac=work.jacobian, loss="soft_l1", f_scale=ROBUST_AT, max_nfev=60,
        xtol=1e-5, ftol=1e-5,
    )  # fmt: skip
    return work.result(solution.x)


def left_out_levels(
    problem: Problem, sources: Sequence[str], groups: Sequence[str], reference: str, setting: Setting
) -> np.ndarray:
    """Predict every network as its source measures it, by the fit to all groups but its own, ``[networks]`` ms."""
    labels, names = np.asarray(groups), np.asarray(sources)
    predicted = np.zeros(len(problem))
    for group in dict.fromkeys(groups):
        rest = labels != group
        if not (names[rest] == reference).any():
            raise BadInput(f"without family {group!r} no network of source {reference!r} left: name another protocol")
        fit = fit_levels(problem.part(rest), names[rest].tolist(), reference, setting)
        predicted[~rest] = fit.predict(problem.part(~rest), names[~rest].tolist())
    return predicted


def laboratory(source: str) -> str:
    """The laboratory of a source: its name up to the first comma."""
    return source.split(",")[0]


class _LeveledProblem:
    """Residuals and their derivatives. Levels are derived by hand, coefficients by differences.

    The vector is ``[coefficients + laboratories + others]``: coefficients, logarithms of factors, logarithms of fixed
    times over the reference's.
    """

    def __init__(self, problem: Problem, sources: Sequence[str], reference: str, setting: Setting) -> None:
        if not setting.fixed_time or reference not in sources:
            raise BadInput(f"source {reference!r} has no networks here: it has {', '.join(dict.fromkeys(sources))}")
        self.problem, self.reference = problem, reference
        self.unknowns = Unknowns(problem, setting)
        self.others = [name for name in dict.fromkeys(sources) if name != reference]
        labs = dict.fromkeys(laboratory(name) for name in self.others)
        self.labs = [lab for lab in labs if lab != laboratory(reference)]
        self.of_source = _indicators(sources, self.others)
        self.of_lab = _indicators([laboratory(name) for name in sources], self.labs)
        self.target = np.log(problem.ms)
        self.first = np.concatenate([self.unknowns.first, np.zeros(len(self.labs) + len(self.others))])
        levels = np.repeat([FACTOR_SPREAD, FIXED_SPREAD], [len(self.labs), len(self.others)])
        self.weight = setting.prior_weight / np.concatenate([self.unknowns.spread, levels])

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """Errors of logarithms, then distances from the start in standard deviations."""
        ops, fixed = self._parts(x)
        return np.concatenate([np.log(ops + fixed) - self.target, self.weight * (x - self.first)])

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Derivatives of ``residuals``, ``[networks + unknowns, unknowns]``."""
        ops, fixed = self._parts(x)
        total, fitted = ops + fixed, len(self.unknowns.names)
        rows = np.zeros((len(total), len(x)))
        for j in range(fitted):
            moved = x.copy()
            moved[j] += _STEP
            more_ops, more_fixed = self._parts(moved)
            rows[:, j] = (more_ops + more_fixed - total) / (_STEP * total)
        rows[:, fitted : fitted + len(self.labs)] = (ops / total)[:, None] * self.of_lab
        rows[:, fitted + len(self.labs) :] = (fixed / total)[:, None] * self.of_source
        return np.concatenate([rows, np.diag(self.weight)])

    def result(self, x: np.ndarray) -> LeveledFit:
        """The model and the levels of a vector."""
        model, fixed_ms = self.unknowns.model(self._coefficients(x))
        factors, shares = (np.exp(logs).tolist() for logs in self._level_logs(x))
        factor = dict(zip(self.labs, factors, strict=True))
        levels = Levels(
            {self.reference: 1.0} | {name: factor.get(laboratory(name), 1.0) for name in self.others},
            {self.reference: fixed_ms} | dict(zip(self.others, [fixed_ms * share for share in shares], strict=True)),
        )
        return LeveledFit(model, levels)

    def _coefficients(self, x: np.ndarray) -> np.ndarray:
        return x[: len(self.unknowns.names)]

    def _level_logs(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of factors ``[laboratories]`` and of fixed times ``[others]``."""
        first = len(self.unknowns.names)
        return x[first : first + len(self.labs)], x[first + len(self.labs) :]

    def _parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Time of the ops and fixed time of each network at its source's level, ``[networks]`` each."""
        model, fixed_ms = self.unknowns.model(self._coefficients(x))
        factors, shares = self._level_logs(x)
        ops = self.problem.predict(model, 0.0)
        return np.exp(self.of_lab @ factors) * ops, fixed_ms * np.exp(self.of_source @ shares)


def _indicators(names: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """1 where a name is that of the column, ``[names, columns]``."""
    found = np.array([[name == column for column in columns] for name in names], dtype=float)
    return found.reshape(len(names), len(columns))
