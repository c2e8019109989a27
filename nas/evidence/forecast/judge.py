"""How well values order trained detectors at equal latency, table by table: tau, regret, and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.detectors.entry import Entry
from nas.evidence.forecast.evidence import COCO, Evidence
from nas.evidence.statistics.accuracy import Estimate, bootstrap_weights
from nas.evidence.statistics.rank import MIN_POINTS, GroupedPairs, Pairs, latency_bins, nan_row_means
from nas.evidence.statistics.regret import regret

BIN_POINTS = 10
"""Points that one bin of a device's latency is to hold."""
MOST_BINS = 12
COCO_ONLY, ALL_RECIPES = "COCO only", "all recipes"


@dataclass(frozen=True)
class TruthTable:
    """Points that are compared with one another: their places ``rows`` in the evidence, and latencies by device."""

    name: str
    rows: np.ndarray
    names: np.ndarray
    truth: np.ndarray
    devices: dict[str, np.ndarray]

    def part(self, keep: np.ndarray) -> TruthTable:
        """The points at which ``keep`` ``[evidence]`` is True."""
        inside = keep[self.rows]
        devices = {name: ms[inside] for name, ms in self.devices.items()}
        return TruthTable(self.name, self.rows[inside], self.names[inside], self.truth[inside], devices)

    def taus(self, signs: np.ndarray) -> dict[str, float]:
        """Tau-b at equal latency by device; ``signs`` ``[rows, rows]`` are those of value i minus value j."""
        found = {}
        for device, ms in self.devices.items():
            timed, group = _bins(ms)
            pairs = _pairs(signs[np.ix_(timed, timed)], self.truth[timed], group, self.names[timed])
            found[device] = float(pairs.mean_tau()[0])
        return found

    def mean_tau(self, signs: np.ndarray) -> float:
        """Mean of ``taus`` over the devices that have one."""
        return float(np.nanmean(list(self.taus(signs).values())))

    def estimates(self, signs: np.ndarray, draws: int, seed: int = 0) -> tuple[Estimate, Estimate, dict[str, float]]:
        """Mean tau over devices and mean regret (AP points), networks drawn with replacement; tau by device.

        The regret is that of the point that beats most others of its bin.
        """
        weight = bootstrap_weights(self.names, draws, seed)
        weight = np.vstack([np.ones(weight.shape[1]), weight])
        taus, regrets = [], []
        for ms in self.devices.values():
            timed, group = _bins(ms)
            inside, truth = signs[np.ix_(timed, timed)], self.truth[timed]
            taus.append(_pairs(inside, truth, group, self.names[timed]).mean_tau(weight[:, timed]))
            wins = (inside * (group[:, None] == group[None, :])).sum(axis=1)
            regrets.append(100 * regret(wins, truth, group, weight[:, timed]))
        tau, lost = (nan_row_means(np.stack(columns, axis=1)) for columns in (taus, regrets))
        by_device = {name: float(values[0]) for name, values in zip(self.devices, taus, strict=True)}
        return Estimate.of(tau[0], tau[1:]), Estimate.of(lost[0], lost[1:]), by_device


def signs_of(values: np.ndarray) -> np.ndarray:
    """Sign of value i minus value j, ``[n, n]``."""
    return np.asarray(np.sign(values[:, None] - values[None, :]))


def _pairs(signs: np.ndarray, truth: np.ndarray, group: np.ndarray, cluster: np.ndarray) -> GroupedPairs:
    """Pairs within groups for values of which only the order is known, pair by pair."""
    order = signs_of(truth)
    found = []
    rows = tuple(np.flatnonzero(group == label) for label in np.unique(group))
    for at in rows:
        inside, target = signs[np.ix_(at, at)], order[np.ix_(at, at)]
        apart = (cluster[at][:, None] != cluster[at][None, :]).astype(float)
        parts = (inside * target, np.abs(inside), np.abs(target))
        first, second, third = (part * apart for part in parts)
        within = [(part * (1 - apart)).sum(axis=1) for part in parts]
        found.append(Pairs((first, second, third), (within[0], within[1], within[2])))
    return GroupedPairs(rows, tuple(found))


def _bins(ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which points have a latency, and the bin of each of those."""
    timed = ~np.isnan(ms)
    count = max(1, min(MOST_BINS, round(int(timed.sum()) / BIN_POINTS)))
    return timed, latency_bins(ms[timed], count)


def truth_tables(evidence: Evidence, devices: Mapping[str, Sequence[str]]) -> list[TruthTable]:
    """Published COCO AP of COCO-only trainings and of all, then every other source.

    ``devices`` maps the last part of a folder's name to its latency columns; other folders use all of theirs. Published
    T4 latencies (TensorRT FP16, median of publishers) are one more device where there are enough.
    """
    tables = []
    coco = np.flatnonzero(evidence.source == COCO)
    if len(coco):
        first: dict[tuple[str, int], int] = {}
        for place in coco.tolist():
            if evidence.entries[place].recipe.coco_only:
                first.setdefault(evidence.entries[place].key, place)
        for name, rows in ((COCO_ONLY, np.array(sorted(first.values()), dtype=int)), (ALL_RECIPES, coco)):
            tables.append(_table(evidence, name, rows, devices))
    for source in evidence.sources:
        if not source.startswith(COCO):
            tables.append(_table(evidence, source, np.flatnonzero(evidence.source == source), devices))
    return tables


def _table(evidence: Evidence, name: str, rows: np.ndarray, devices: Mapping[str, Sequence[str]]) -> TruthTable:
    entries = [evidence.entries[place] for place in rows.tolist()]
    wanted: dict[str, None] = {}
    for entry in entries:
        folder = entry.data.rstrip("/").rpartition("/")[2]
        wanted |= dict.fromkeys(devices.get(folder, sorted(entry.latency)))
    latency = {column: np.array([entry.latency.get(column, np.nan) for entry in entries]) for column in wanted}
    latency["t4_published"] = np.array([published_t4(entry) for entry in entries])
    enough = {column: ms for column, ms in latency.items() if int((~np.isnan(ms)).sum()) >= 2 * MIN_POINTS}
    return TruthTable(name, rows, evidence.name[rows], evidence.ap[rows], enough)


def published_t4(entry: Entry) -> float:
    """Median of the published TensorRT FP16 latencies on a T4 at batch 1 in ms; NaN without any."""
    known = [
        fact.ms for fact in entry.facts
        if "T4" in fact.device and "16" in fact.precision and fact.batch in (1, None)
    ]  # fmt: skip
    return float(np.median(known)) if known else float("nan")
