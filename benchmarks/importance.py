"""Importance against the truth: does a method foresee how much the loss rises when units, pairs and blocks are removed?

    python benchmarks/importance.py yolo11s.safetensors yolox-s.safetensors --data digits-large --out importance.csv

Importance is measured on images of ``train``. Then units of a sample of channel groups are removed (25 and 50 % of a
group, and 50 % of two groups at once), and single blocks are skipped; nothing is trained again. The truth is the rise
of the training loss, batch norms with their statistics, on images of ``val``. The units that go are the least important
ones by each method, and random ones. A method's forecast is the sum of the importances of what goes.

The first table has the rank correlation of forecast and rise over all removals of a kind, with 95 % intervals of a
bootstrap over groups, and the median of rise over forecast; the second has the rise when each method chooses, at the
same number of units. ``--report FILE.csv`` prints both again from a CSV of removals.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import zoo
from distill.data.formats.readers import open_data
from distill.data.synthetic.synth import make
from distill.importance.measure import MeasureOptions, measure_importance
from distill.importance.methods import IMPORTANCES
from distill.importance.norm import Norm
from distill.importance.removal import skipping
from distill.importance.taylor import first_order_change
from distill.importance.training_loss import LossBatch, TrainingLoss, loss_batches
from nas.evidence.statistics.rank import spearman
from nas.kendall import kendall
from workbench.console import Progress, table
from workbench.errors import BadInput
from workbench.files import write_atomic
from zoo.detector import Detector
from zoo.pruning.apply import zero_units
from zoo.pruning.groups import ChannelGroup, ChannelGroups, channel_groups

SHARES = (0.25, 0.5)
"""Shares of a group's units that are removed."""
PAIR_SHARE = 0.5
RANDOM = "random"
BY_BATCH = "taylor by batch"
SCALES = {f"norm ({scale})": Norm(scale) for scale in ("sum", "none")}
CHOOSERS = (*IMPORTANCES, BY_BATCH)
"""Methods by which the units that go are chosen."""
METHODS = (*CHOOSERS, *SCALES, "fisher")
"""All that forecast. ``taylor by batch`` takes absolute values of batches of ``BATCH`` images, not of every image;
``fisher`` is half the mean over images of the squared first-order change; the norms are scaled otherwise."""
BATCH = 8
DRAWS = 1000
COLUMNS = ("parent", "kind", "names", "share", "chosen_by", "units", "rise")


@dataclass
class Bench:
    """One parent: its importances, and the images that measure the truth."""

    name: str
    detector: Detector
    groups: ChannelGroups
    units: dict[str, dict[str, np.ndarray]]
    """Method or variant to group to the importance of every unit."""
    blocks: dict[str, dict[str, float]]
    """Method to block to its importance."""
    batches: list[LossBatch]
    rows: list[dict[str, Any]] = field(default_factory=list)
    whole: float = 0.0

    def loss(self, loss: TrainingLoss) -> float:
        """Mean over the images."""
        with torch.no_grad():
            return sum(float(loss(b)) * len(b) for b in self.batches) / sum(map(len, self.batches))

    def remove(self, kind: str, chosen: dict[str, np.ndarray], share: float, by: str) -> None:
        """Measure the loss without some units, by group."""
        kept = {g.name: np.setdiff1d(np.arange(len(g)), chosen[g.name]) for g in self.groups.groups if g.name in chosen}
        child = copy.deepcopy(self.detector)
        zero_units(child, self.groups, self.groups.cuts_of(kept))
        forecasts = {
            method: sum(float(values[name][out].sum()) for name, out in chosen.items())
            for method, values in self.units.items()
        }
        count = sum(map(len, chosen.values()))
        self._add(kind, list(chosen), share, by, count, self.loss(TrainingLoss(child)), forecasts)

    def skip(self, path: str, loss: TrainingLoss) -> None:
        """Measure the loss without a block."""
        with skipping(loss.detector, path):
            value = self.loss(loss)
        self._add("block", [path], 1.0, "", 0, value, {m: values[path] for m, values in self.blocks.items()})

    def _add(
        self, kind: str, names: Sequence[str], share: float, by: str, units: int, value: float,
        forecasts: dict[str, float],
    ) -> None:  # fmt: skip
        row = dict(zip(COLUMNS, (self.name, kind, " ".join(names), share, by, units, value - self.whole), strict=True))
        self.rows.append(row | forecasts)


def main(words: list[str] | None = None) -> None:
    """Measure, write the CSV and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parents", nargs="*", metavar="FILE", help="trained detectors, or names for random weights")
    parser.add_argument("--data", metavar="DIR", help="labeled data with train and val (default: synthetic images)")
    parser.add_argument("--images", type=int, default=128, help="images that measure importance (default: %(default)s)")
    parser.add_argument("--val", type=int, default=64, help="images that measure the truth (default: %(default)s)")
    parser.add_argument("--input", type=int, metavar="PX", help="side of the input (default: the detector's own)")
    parser.add_argument("--groups", type=int, default=10, help="channel groups in the sample (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="CSV", help="every removal, one a row")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep importances here")
    parser.add_argument("--report", type=Path, metavar="CSV", help="only print the tables of this file")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    args = parser.parse_args(words)
    try:
        rows = read_rows(args.report) if args.report else measure(args)
    except BadInput as error:
        sys.exit(f"error: {error}")
    print(report(rows, args.seed))


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The removals of all parents; the CSV grows parent by parent."""
    if not args.parents:
        raise BadInput("give trained detectors, or --report")
    with ExitStack() as stack:
        if not args.data:
            args.data = Path(stack.enter_context(TemporaryDirectory())) / "data"
            make(args.data, 2 * (args.images + args.val), args.seed)
        return _measure(args)


def _measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    progress = Progress(args.quiet)
    for file in args.parents:
        began = time.process_time()
        bench = prepare(file, args, progress)
        between = time.process_time()
        removals(bench, args, progress)
        rows += bench.rows
        if args.out:
            write_atomic(args.out, as_csv(rows))
        seconds = between - began, time.process_time() - between
        spent = f"{seconds[0]:.0f} s of CPU for the importances, {seconds[1]:.0f} s for the truth"
        print(f"{bench.name}: loss {bench.whole:.4f} on {args.val} images, {len(bench.rows)} removals; {spent}")
    progress.done()
    return rows


def prepare(file: str, args: argparse.Namespace, progress: Progress) -> Bench:
    """Measure the importances of a parent."""
    train, val = open_data(args.data, "train"), open_data(args.data, "val")
    detector = _detector(file, train.classes.names)
    groups = channel_groups(detector)
    options = MeasureOptions(args.images, args.input, seed=args.seed)
    scores = {
        name: measure_importance(detector, groups, name, train, options, folder=args.cache, progress=progress)
        for name in IMPORTANCES
    }
    units = {name: dict(found.groups) for name, found in scores.items()}
    px = args.input or detector.info.input_px
    others = {name: variant.unit_scores(detector, groups) for name, variant in SCALES.items()}
    loss, sums = TrainingLoss(detector, seed=args.seed), np.zeros((2, groups.count))
    images = min(args.images, len(train))
    for batch in loss_batches(train, detector.preprocess, px, images, BATCH, args.seed):
        progress.show(f"{detector.recipe.model}: importance by other methods, image {batch.first + 1} of {images}")
        sums[0] += np.abs(first_order_change(loss, groups, batch)) * len(batch)
        for single in batch.singles():
            sums[1] += first_order_change(loss, groups, single) ** 2 / 2
    others |= {BY_BATCH: sums[0] / images, "fisher": sums[1] / images}
    for name, values in others.items():
        units[name] = {group.name: values[group.units] for group in groups.groups}
    batches = list(loss_batches(val, detector.preprocess, px, min(args.val, len(val)), 32, args.seed))
    blocks = {name: dict(found.blocks) for name, found in scores.items()}
    bench = Bench(detector.recipe.model, detector, groups, units, blocks, batches)
    bench.whole = bench.loss(TrainingLoss(detector))
    return bench


def _detector(file: str, classes: tuple[str, ...]) -> Detector:
    if Path(file).suffix == ".safetensors":
        return zoo.load(file)
    from zoo.detector import Info, Recipe
    from zoo.factory import build_recipe

    detector = build_recipe(Recipe(file, len(classes)))
    detector.info = Info(classes, 64)
    return detector


def removals(bench: Bench, args: argparse.Namespace, progress: Progress) -> None:
    """Remove units of sampled groups and pairs, and skip every block."""
    rng = np.random.default_rng(args.seed)
    large = [group for group in bench.groups.groups if len(group) >= 8]
    order = rng.permutation(len(large))
    sample = [large[i] for i in sorted(order[: args.groups].tolist())]
    pairs = [[large[i] for i in rng.choice(len(large), 2, replace=False)] for _ in range(args.pairs)]
    todo = [("group", [g], share) for g in sample for share in SHARES] + [("pair", p, PAIR_SHARE) for p in pairs]
    for number, (kind, members, share) in enumerate(todo):
        progress.show(f"{bench.name}: {kind} {number + 1} of {len(todo)}")
        for by in (*CHOOSERS, RANDOM):
            bench.remove(kind, {g.name: _least(bench, g, share, by, rng) for g in members}, share, by)
    loss = TrainingLoss(bench.detector)
    for path in bench.groups.blocks:
        progress.show(f"{bench.name}: block {path}")
        bench.skip(path, loss)


def _least(bench: Bench, group: ChannelGroup, share: float, by: str, rng: np.random.Generator) -> np.ndarray:
    """The units of ``group`` that go: the least important ones by a method, or random ones."""
    count = max(1, round(len(group) * share))
    values = rng.random(len(group)) if by == RANDOM else bench.units[by][group.name]
    return np.sort(np.argsort(values, kind="stable")[:count])


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One removal a row; numbers to six digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *METHODS], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return text.getvalue()


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The inverse of ``as_csv``."""
    text = {"parent", "kind", "names", "chosen_by"}
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            found = list(csv.DictReader(lines))
    except OSError as error:
        raise BadInput(f"cannot read {str(file)!r}: {error.strerror or error}") from error
    return [{k: v if k in text else float(v) for k, v in row.items() if v != "" or k in text} for row in found]


def report(rows: Sequence[dict[str, Any]], seed: int = 0) -> str:
    """Both tables."""
    correlations, choices = [], []
    for parent in dict.fromkeys(row["parent"] for row in rows):
        own = [row for row in rows if row["parent"] == parent]
        for kind in ("group", "pair", "block"):
            some = [row for row in own if row["kind"] == kind]
            for method in METHODS:
                known = [row for row in some if method in row]
                if len(known) > 2:
                    cells = [*_correlations(known, method, seed), _ratio(known, method)]
                    correlations.append([parent, kind, method, len(known), *cells])
        for by in CHOOSERS:
            for kind, share in (("group", SHARES[0]), ("group", SHARES[1]), ("pair", PAIR_SHARE)):
                if some := [row for row in own if row["kind"] == kind and row["share"] == share]:
                    choices.append([parent, kind, f"{share:.0%}", by, *_against_random(some, by, seed)])
    header = ("parent", "removed", "method", "removals", "Spearman", "95 %", "Kendall", "95 %", "rise / forecast")
    first = table(header, correlations)
    header = ("parent", "removed", "share", "chosen by", "mean rise", "random's", "difference", "95 %", "better in")
    second = table(header, choices)
    return f"forecast against measured rise of the loss\n{first}\n\nrise by who chooses the units\n{second}"


def _correlations(rows: Sequence[dict[str, Any]], method: str, seed: int) -> list[Any]:
    """Spearman's and Kendall's coefficients with intervals; removals of the same groups are drawn together."""
    x, y = (np.array([row[key] for row in rows]) for key in (method, "rise"))
    cells: list[Any] = []
    for statistic in (spearman, kendall):
        draws = _bootstrap(rows, lambda index, f=statistic: f(x[index], y[index]), seed)  # type: ignore[misc]
        cells += [round(statistic(x, y), 2), _interval(draws, 2)]
    return cells


def _ratio(rows: Sequence[dict[str, Any]], method: str) -> float | None:
    """Median of rise over forecast, where the forecast is above 0."""
    ratios = [row["rise"] / row[method] for row in rows if row[method] > 0]
    return float(np.median(ratios)) if ratios else None


def _against_random(rows: Sequence[dict[str, Any]], by: str, seed: int) -> list[Any]:
    """Mean rise when ``by`` chooses, when chance does, their difference with interval, and how often it is smaller."""
    rises = {
        chooser: {row["names"]: row["rise"] for row in rows if row["chosen_by"] == chooser} for chooser in (by, RANDOM)
    }
    names = [name for name in rises[by] if name in rises[RANDOM]]
    own, random = (np.array([rises[chooser][name] for name in names]) for chooser in (by, RANDOM))
    units = [{"names": name} for name in names]
    draws = _bootstrap(units, lambda index: float((own - random)[index].mean()), seed)
    better = f"{int((own < random).sum())} of {len(names)}"
    return [float(own.mean()), float(random.mean()), float((own - random).mean()), _interval(draws, 3), better]


def _bootstrap(rows: Sequence[dict[str, Any]], statistic: Callable[[np.ndarray], float], seed: int) -> np.ndarray:
    """``statistic`` of resampled rows; rows of the same names are drawn together."""
    rng = np.random.default_rng(seed)
    _, cluster = np.unique([row["names"] for row in rows], return_inverse=True)
    members = [np.flatnonzero(cluster == c) for c in range(cluster.max() + 1)]
    draws = [np.concatenate([members[c] for c in rng.integers(len(members), size=len(members))]) for _ in range(DRAWS)]
    return np.array([statistic(index) for index in draws])


def _interval(draws: np.ndarray, digits: int) -> str:
    known = draws[np.isfinite(draws)]
    if len(known) < DRAWS // 2:
        return "none"
    low, high = np.quantile(known, (0.025, 0.975))
    return f"{low:.{digits}f} to {high:.{digits}f}"


if __name__ == "__main__":
    main()
