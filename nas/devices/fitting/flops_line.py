"""The baseline of a latency model: a line through FLOPs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.devices.fit import Problem


def flops_line(problem: Problem, groups: Sequence[str]) -> np.ndarray:
    """Predictions ``[networks]`` in ms by ``a + b x FLOPs``, each group by a robust fit to the other groups."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    macs, labels = problem.total(problem.rows.macs), np.asarray(groups)
    predicted = np.zeros(len(problem))
    for group in dict.fromkeys(groups):
        rest = labels != group
        start = np.log([0.2 * np.median(problem.ms[rest]), 0.8 * np.median(problem.ms[rest] / macs[rest])])

        def error(logs: np.ndarray, rest: np.ndarray = rest) -> np.ndarray:
            return np.log(np.exp(logs[0]) + np.exp(logs[1]) * macs[rest]) - np.log(problem.ms[rest])

        line = np.exp(least_squares(error, start, loss="soft_l1", f_scale=0.1).x)
        predicted[~rest] = line[0] + line[1] * macs[~rest]
    return predicted
