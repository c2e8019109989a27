"""Kendall's tau of a score with trained accuracies over chosen pairs of architectures: between spaces, within them.

Only pairs of equal latency count (of one band). Intervals are 90 % percentile intervals over resampled architectures;
copies of an architecture are not compared with each other. Results with one ``draws`` are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas.evidence.statistics.accuracy import DRAWS, Estimate

OVERALL, BETWEEN, WITHIN = "all", "between", "within"
"""Kinds of pairs: all of equal latency; of two spaces; of one."""


def pair_masks(bands: Sequence[object], families: Sequence[object]) -> dict[str, np.ndarray]:
    """The pairs ``[n, n]`` of each kind, and ``within NAME`` of each family, by ``bands`` and ``families`` ``[n]``."""
    band, family = np.asarray(bands), np.asarray(families)
    equal = (band[:, None] == band) & ~np.eye(len(band), dtype=bool)
    same = family[:, None] == family
    masks = {OVERALL: equal, BETWEEN: equal & ~same, WITHIN: equal & same}
    for name in np.unique(family):
        masks[f"{WITHIN} {name}"] = equal & same & (family == name)[:, None]
    return masks


def resamples(count: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each of ``count`` architectures is drawn in each bootstrap resample, ``[draws, count]``."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws).astype(float)


def pair_taus(
    score: np.ndarray, truth: np.ndarray, masks: Mapping[str, np.ndarray], weights: np.ndarray
) -> dict[str, Estimate]:
    """Tau-b of ``score`` with ``truth`` ``[n]`` over the pairs of each mask; ``weights`` ``[draws, n]``.

    Architectures without a score or an accuracy (NaN) have no pairs.
    """
    known = ~(np.isnan(score) | np.isnan(truth))
    by_score, by_truth = (np.sign(np.subtract.outer(column, column)) for column in (score, truth))
    tables = np.nan_to_num(np.stack([by_score * by_truth, by_score**2, by_truth**2]))
    once = np.concatenate([np.ones((1, len(score))), weights])
    found = {}
    for name, mask in masks.items():
        counted = tables * (mask & known & known[:, None])
        concordance, of_score, of_truth = np.einsum("di,kij,dj->kd", once, counted, once, optimize=True)
        norm = np.sqrt(of_score * of_truth)
        taus = np.divide(concordance, norm, out=np.full(len(norm), np.nan), where=norm > 0)
        found[name] = Estimate.of(taus[0], taus[1:])
    return found


def seed_taus(seeds: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How one seed's accuracies order the architectures as another's do: mean tau over pairs of ``seeds`` ``[n, s]``.

    NaN for kinds of pairs that no two seeds share.
    """
    none = np.zeros((0, len(seeds)))
    found: dict[str, list[float]] = {name: [] for name in masks}
    for second in range(seeds.shape[1]):
        for first in range(second):
            for name, tau in pair_taus(seeds[:, first], seeds[:, second], masks, none).items():
                found[name].append(tau.value)
    return {name: float(np.mean(taus)) if taus else float("nan") for name, taus in found.items()}


def run_deviation(seeds: np.ndarray) -> float:
    """Standard deviation of one training between the seeds of an architecture, from ``seeds`` ``[n, s]``.

    NaN where no architecture has two.
    """
    counts = (~np.isnan(seeds)).sum(axis=1)
    repeated = seeds[counts > 1]
    if not len(repeated):
        return float("nan")
    squares = np.nansum((repeated - np.nanmean(repeated, axis=1, keepdims=True)) ** 2)
    return float(np.sqrt(squares / (counts[counts > 1] - 1).sum()))


def ceilings(
    seeds: np.ndarray, masks: Mapping[str, np.ndarray], draws: int = 200, seed: int = 0
) -> dict[str, float]:
    """Tau that the noise-free accuracies would reach against the means of ``seeds`` ``[n, s]``; NaN without repeats.

    The noise-free accuracies are taken as the means, shrunk towards each other by the share of their variance that is
    noise; fresh Gaussian noise is added to them, and they are ranked against the result.
    """
    deviation = run_deviation(seeds)
    if np.isnan(deviation):
        return dict.fromkeys(masks, float("nan"))
    counts = (~np.isnan(seeds)).sum(axis=1)
    mean = np.array([np.nanmean(row) if count else np.nan for row, count in zip(seeds, counts, strict=True)])
    noise = deviation / np.sqrt(np.maximum(counts, 1))
    spread = float(np.nanvar(mean, ddof=1))
    share = max(0.0, 1 - float(np.mean(noise[counts > 0] ** 2)) / spread) if spread > 0 else 0.0
    true = np.nanmean(mean) + np.sqrt(share) * (mean - np.nanmean(mean))
    runs = true + noise * np.random.default_rng(seed).standard_normal((draws, len(true)))
    none = np.zeros((0, len(true)))
    taus = [pair_taus(true, run, masks, none) for run in runs]
    return {name: float(np.mean([tau[name].value for tau in taus])) for name in masks}
