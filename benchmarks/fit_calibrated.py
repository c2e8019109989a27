"""Fit the score ``calibrated`` to really trained detectors, judge it on families left out, and write its numbers.

    python benchmarks/fit_calibrated.py --data ../shared/yolobench            # writes nas/scores/calibrated.yaml
    python benchmarks/fit_calibrated.py --data ../shared/yolobench --forms    # compares all forms; writes nothing
    python benchmarks/fit_calibrated.py --data ../shared/yolobench --columns  # the score on every accuracy column
    python benchmarks/fit_calibrated.py --data ../shared/yolobench --neck     # what layers of the neck are worth

Nothing is random but the bootstrap of the interval, which is seeded: the same data give the same file.
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nas.evidence.statistics.rank import equal_latency_tau, latency_bins
from nas.evidence.trained import TARGET, TrainedDetectors, read_trained
from nas.kendall import kendall
from nas.scores import get_score
from nas.scores.anatomy import Anatomy, made_from, spatial
from nas.scores.calibrated import FILE, FORMAT, TERMS, Calibration, Form, layer_weight, layer_weights, width_of
from nas.scores.forecast_terms import head_starts
from search_spaces.graph import Graph, level_strides
from workbench.console import table
from workbench.files import write_atomic

DEVICES = (
    "jetson_nano_gpu_ort_fp32",
    "intel_i7_10875h_cpu_openvino_fp32",
    "raspberrypi4_cpu_tflite_fp32",
    "nvidia_a40_gpu_tensorrt",
)
GROUPS = ("family", "merged", "architecture")
"""What is left out at a time: a family, a family with its near twin (YOLOv6's two kinds of blocks), one
architecture."""
DRAWS = 400
LINK = "-ln(1 - mAP)"
PRICES = np.linspace(0, 0.06, 121)
"""Values tried for what a layer is worth, in units of ln width."""


@dataclass(frozen=True)
class Evidence:
    """Points ``[n]``: the target on the score's scale, ``others``: every accuracy column on it (the target first,
    NaN where unknown), and what each point belongs to.
    """

    trained: TrainedDetectors
    y: np.ndarray
    others: np.ndarray
    groups: dict[str, np.ndarray]

    @staticmethod
    def read(folder: str) -> Evidence:
        """Points of a folder of trained detectors that have the target."""
        trained = read_trained(folder)
        trained = trained.part(~np.isnan(trained.target(TARGET)))
        kinds = np.array(
            [
                arch.partition("-")[0] if "-" in arch else family
                for arch, family in zip(trained.arch, trained.family, strict=True)
            ]
        )
        groups = {"family": kinds, "merged": trained.family, "architecture": trained.arch}
        y = -np.log1p(-trained.target(TARGET))
        columns = [-np.log1p(-column) for name, column in trained.accuracy.items() if name != TARGET]
        return Evidence(trained, y, np.stack([y, *columns], axis=1), groups)

    def terms(self, form: Form, every_layer: bool = False) -> np.ndarray:
        """Columns of ``TERMS``, ``[n, 3]``. ``every_layer``: depth counts layers that no gradient can step over too."""
        own: dict[str, tuple[float, float]] = {}
        for name, graph in self.trained.graphs.items():
            anatomy = Anatomy.of(graph, 320)
            depth = (
                _every_layer(anatomy, form.half_width)
                if every_layer
                else layer_weights(anatomy.graph, form.half_width, anatomy.in_backbone).sum()
            )
            own[name] = (width_of(anatomy, form), float(depth))
        return np.column_stack([np.log(self.trained.input_px), np.array([own[name] for name in self.trained.arch])])

    def judge(self, score: np.ndarray) -> dict[str, float]:
        """Tau at equal latency by device and its mean, regret (mAP points), tau over all points."""
        truth = self.trained.target(TARGET)
        latency = self.trained.devices(DEVICES)
        taus = {name: equal_latency_tau(score, truth, column) for name, column in latency.items()}
        regrets = [_regret(score, truth, column) for column in latency.values()]
        return {
            **taus,
            "mean": float(np.mean(list(taus.values()))),
            "regret": float(np.mean(regrets)),
            "all": kendall(score, truth),
        }


def _every_layer(anatomy: Anatomy, half_width: float) -> float:
    """Depth without the question whether a gradient can step over a layer."""
    total = 0.0
    for op, inside, counted in zip(anatomy.graph.ops, anatomy.in_backbone, spatial(anatomy.graph), strict=True):
        if inside and counted:
            total += float(layer_weight(op.cin, op.cout, op.g, half_width))
    return total


def _regret(score: np.ndarray, truth: np.ndarray, latency: np.ndarray) -> float:
    """Mean over latency bins of best mAP minus the mAP of the best score, in points."""
    bins = latency_bins(latency)
    lost = [truth[bins == b].max() - truth[bins == b][np.argmax(score[bins == b])] for b in np.unique(bins)]
    return 100 * float(np.mean(lost))


def fit(terms: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intercept and coefficients, none below zero: ``[1 + terms]``. Least squares on the target, with what a layer is
    worth in widths taken from all accuracy columns together, each with a scale and an input term of its own.
    """
    sums = [Sums.of(terms, y) for y in others.T if not np.isnan(y).all()]
    best = int(np.argmin(sum(part.misfit() for part in sums)))
    size, network = sums[0].slopes()[:, best]
    slopes = np.array([size, network, PRICES[best] * network])
    return np.concatenate([[sums[0].mean_y - sums[0].mean @ slopes], slopes])


@dataclass(frozen=True)
class Sums:
    """What least squares needs of one accuracy column: counts, means and centred products."""

    points: int
    mean: np.ndarray
    mean_y: float
    products: np.ndarray
    with_y: np.ndarray
    square_y: float

    @staticmethod
    def of(terms: np.ndarray, y: np.ndarray) -> Sums:
        """Of the points whose ``y`` is known."""
        known = ~np.isnan(y)
        x, y = terms[known], y[known]
        own, rest = x - x.mean(axis=0), y - y.mean()
        return Sums(len(y), x.mean(axis=0), float(y.mean()), own.T @ own, own.T @ rest, float(rest @ rest))

    def slopes(self) -> np.ndarray:
        """Least-squares slopes of the input term and of width + price x depth, neither below zero, ``[2, prices]``."""
        (a, b, c), (first, second) = self._joined()
        both = np.stack([first * c - second * b, second * a - first * b]) / (a * c - b * b)
        alone = np.maximum(0.0, np.stack([first / a, second / c]))
        better = first * alone[0] >= second * alone[1]
        single = np.where(np.stack([better, ~better]), alone, 0.0)
        return np.where((both >= 0).all(axis=0), both, single)

    def misfit(self) -> np.ndarray:
        """Minus twice the log likelihood at every price, but for a constant: points x ln mean squared error."""
        (a, b, c), (first, second) = self._joined()
        x, y = self.slopes()
        left = self.square_y - 2 * (x * first + y * second) + a * x * x + 2 * b * x * y + c * y * y
        return np.asarray(self.points * np.log(left / self.points))

    def _joined(self) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Centred products of the two columns with one another and with the target, each ``[prices]``."""
        g, w, p = self.products, self.with_y, PRICES
        one = np.ones(len(p))
        inner = (g[0, 0] * one, g[0, 1] + p * g[0, 2], g[1, 1] + 2 * p * g[1, 2] + p * p * g[2, 2])
        return inner, (w[0] * one, w[1] + p * w[2])


def left_out(terms: np.ndarray, others: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Every point predicted by a fit that has not seen its group, ``[n]``."""
    found = np.zeros(len(terms))
    for name in np.unique(group):
        out = group == name
        numbers = fit(terms[~out], others[~out])
        found[out] = numbers[0] + terms[out] @ numbers[1:]
    return found


def interval(evidence: Evidence, score: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean tau at equal latency, architectures drawn with replacement."""
    rng = np.random.default_rng(0)
    names = np.unique(evidence.trained.arch)
    places = {name: np.flatnonzero(evidence.trained.arch == name) for name in names}
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate([places[name] for name in rng.choice(names, len(names))])
        truth = evidence.trained.target(TARGET)[drawn]
        found.append(
            np.mean(
                [
                    equal_latency_tau(score[drawn], truth, column[drawn])
                    for column in evidence.trained.devices(DEVICES).values()
                ]
            )
        )
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def ceiling(evidence: Evidence) -> dict[str, float]:
    """What an ideal score could reach: one effect an architecture and one an input size, fitted to the very points; and
    the tau between that smooth surface and itself with the residual's noise on it (mean of 20 draws).
    """
    columns = [
        evidence.trained.arch[:, None] == np.unique(evidence.trained.arch),
        evidence.trained.input_px[:, None] == np.unique(evidence.trained.input_px),
    ]
    design = np.concatenate(columns, axis=1).astype(float)
    smooth = design @ np.linalg.lstsq(design, evidence.y, rcond=None)[0]
    free = len(evidence.y) - np.linalg.matrix_rank(design)
    noise = math.sqrt(float(np.sum((evidence.y - smooth) ** 2)) / free)
    rng = np.random.default_rng(0)
    latency = evidence.trained.devices(DEVICES)
    taus = [
        equal_latency_tau(smooth, smooth + noise * rng.standard_normal(len(smooth)), c)
        for c in latency.values()
        for _ in range(20)
    ]
    return {"additive": evidence.judge(smooth)["mean"], "noise": float(np.mean(taus)), "sd": noise}


def report(evidence: Evidence, form: Form) -> dict[str, Any]:
    """The fit to everything, and its errors on what was left out."""
    terms = evidence.terms(form)
    numbers = fit(terms, evidence.others)
    errors: dict[str, Any] = {}
    for name in GROUPS:
        errors[name] = evidence.judge(left_out(terms, evidence.others, evidence.groups[name]))
    unseen = left_out(terms, evidence.others, evidence.groups["family"])
    truth = evidence.trained.target(TARGET)
    gap = 100 * (truth + np.expm1(-unseen))
    by_family = {}
    for family in np.unique(evidence.groups["family"]):
        own = evidence.groups["family"] == family
        by_family[str(family)] = {
            "points": int(own.sum()),
            "bias": float(gap[own].mean()),
            "rmse": float(np.sqrt(np.mean(gap[own] ** 2))),
            "tau": kendall(unseen[own], truth[own]),
        }
    return {
        "form": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(form).items()},
        "coefficients": dict(zip(("intercept", *TERMS), map(float, numbers), strict=True)),
        "left_out": [float(q) for q in np.quantile(evidence.y - unseen, (0.05, 0.95))],
        "ranges": {
            name: [float(column.min()), float(column.max())] for name, column in zip(TERMS, terms.T, strict=True)
        },
        "errors": {
            "fitted": evidence.judge(numbers[0] + terms @ numbers[1:]),
            **errors,
            "interval": list(interval(evidence, unseen)),
            "rmse": float(np.sqrt(np.mean(gap**2))),
            "by_family": by_family,
        },
    }


def forms() -> list[tuple[str, Form, bool]]:
    """Every form that is compared: what depth counts, where widths are read, how narrow layers are discounted."""
    found = []
    levels = {"2:2:1": (0.4, 0.4, 0.2), "1:1:0": (0.5, 0.5, 0.0), "1:1:1": (1 / 3, 1 / 3, 1 / 3)}
    parts: dict[str, tuple[float, float, float]] = {
        "heads": (0, 0, 1),
        "backbone 1/6": (0, 1 / 6, 5 / 6),
        "backbone 1/3": (0, 1 / 3, 2 / 3),
        "backbone 1/2": (0, 1 / 2, 1 / 2),
        "backbone": (0, 1, 0),
    }
    parts |= {"passages 1/6, backbone 1/6": (1 / 6, 1 / 6, 2 / 3), "passages 1/4, backbone 1/4": (1 / 4, 1 / 4, 1 / 2)}
    for every, half, part, own, seen in itertools.product(
        (False, True), (0.0, 32.0, 64.0, 128.0), parts, levels, ("1:1:0", "1:1:1")
    ):
        enter, leave, begin = parts[part]
        if (leave == 0 and own != "1:1:0") or (begin == 0 and seen != "1:1:0"):
            continue  # these levels are not read
        form = Form(
            half, (enter / 4,) * 4, tuple(leave * v for v in levels[own]), tuple(begin * v for v in levels[seen])
        )
        found.append(
            (
                f"depth {'all' if every else 'skippable'}, half width {half:.0f}, {part}, backbone levels {own}, head "
                f"{seen}",
                form,
                every,
            )
        )
    return found


def compare(evidence: Evidence) -> str:
    """All forms by their left-out tau, and the honest figure: the form chosen anew for every family without that
    family.
    """
    group = evidence.groups["family"]
    families = np.unique(group)
    rows, unseen, inner = [], [], []
    for name, form, every in forms():
        terms = evidence.terms(form, every)
        unseen.append(left_out(terms, evidence.others, group))
        judged = evidence.judge(unseen[-1])
        rows.append(
            [
                name,
                judged["mean"],
                evidence.judge(left_out(terms, evidence.others, evidence.groups["merged"]))["mean"],
                judged["all"],
                judged["regret"],
            ]
        )
        inner.append([_inner(evidence, terms, group != family) for family in families])
    nested = np.zeros(len(group))
    chosen = []
    for place, family in enumerate(families):
        best = int(np.argmax([line[place] for line in inner]))
        nested[group == family] = unseen[best][group == family]
        chosen.append(f"{family} out: {rows[best][0]}")
    lines = [table(["form", "family out", "merged out", "all points", "regret"], sorted(rows, key=lambda row: -row[1]))]
    judged = evidence.judge(nested)
    lines += [
        "",
        f"{len(rows)} forms; chosen without the family that is judged: tau {judged['mean']:.3f}, all points "
        f"{judged['all']:.3f}, regret {judged['regret']:.2f}",
    ]
    return "\n".join(lines + chosen)


def _inner(evidence: Evidence, terms: np.ndarray, keep: np.ndarray) -> float:
    """Left-out tau within part of the points."""
    part = Evidence(
        evidence.trained.part(keep),
        evidence.y[keep],
        evidence.others[keep],
        {name: group[keep] for name, group in evidence.groups.items()},
    )
    return part.judge(left_out(terms[keep], part.others, part.groups["family"]))["mean"]


def columns(evidence: Evidence) -> str:
    """The shipped score and two rivals on every accuracy column: at equal latency, and at equal latency and input
    size.
    """
    trained = evidence.trained
    scores = {}
    for name in ("calibrated", "activations", "maxent"):
        score = get_score(name)
        scores[name] = np.array(
            [
                score(trained.graphs[arch], int(px)).value
                for arch, px in zip(trained.arch, trained.input_px, strict=True)
            ]
        )
    unseen = left_out(evidence.terms(Form()), evidence.others, evidence.groups["family"])
    rows = []
    for column in trained.accuracy:
        truth = trained.target(column)
        for name, values in [("calibrated, family left out", unseen), *scores.items()]:
            rows.append(
                [
                    column,
                    name,
                    int((~np.isnan(truth)).sum()),
                    _equal(trained, values, truth, 12),
                    _at_one_size(trained, values, truth),
                ]
            )
    return table(["column", "score", "points", "equal latency", "and input size"], rows)


def neck_layers(evidence: Evidence) -> str:
    """Left-out tau where the neck's layers over more than one pixel count a share of the backbone's."""
    plain = evidence.terms(Form())
    depths = {name: _neck_depth(graph, Form().half_width) for name, graph in evidence.trained.graphs.items()}
    neck = np.array([depths[name] for name in evidence.trained.arch])
    rows = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        terms = plain + np.outer(share * neck, [0, 0, 1])
        taus = [
            evidence.judge(left_out(terms, evidence.others, evidence.groups[group]))["mean"]
            for group in ("family", "merged")
        ]
        rows.append([f"{share:g}", *(f"{tau:.3f}" for tau in taus)])
    return table(["share", "family left out", "merged left out"], rows)


def _neck_depth(graph: Graph, half_width: float) -> float:
    """Depth of the layers between backbone and heads, without those that reduce the map."""
    anatomy = Anatomy.of(graph, 320)
    graph, px = anatomy.graph, None if anatomy.graph.fixed_px else 320
    strides = level_strides(graph, px)
    starts = head_starts(graph, strides).values()
    before = set().union(*(made_from(graph, start) | {start} for start in starts))
    total = 0.0
    for index in np.flatnonzero(np.asarray(spatial(graph)) & ~anatomy.in_backbone).tolist():
        op = graph.ops[index]
        if index in before and max(op.s) == 1:
            total += float(layer_weight(op.cin, op.cout, op.g, half_width))
    return total


def _equal(trained: TrainedDetectors, score: np.ndarray, truth: np.ndarray, bins: int) -> float:
    return float(
        np.mean([equal_latency_tau(score, truth, latency, bins) for latency in trained.devices(DEVICES).values()])
    )


def _at_one_size(trained: TrainedDetectors, score: np.ndarray, truth: np.ndarray) -> float:
    """Mean over input sizes, in bins of about ten networks."""
    found = []
    for px in np.unique(trained.input_px):
        own = (trained.input_px == px) & ~np.isnan(truth)
        if own.sum() >= 10:
            found.append(_equal(trained.part(own), score[own], truth[own], round(own.sum() / 10)))
    return float(np.mean(found))


def main() -> int:
    """Fit and write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="folder of trained detectors: accuracy.csv, latency.csv, graphs"
    )
    parser.add_argument(
        "--out", default=str(FILE), metavar="FILE", help="where the numbers go (default: the shipped file)"
    )
    parser.add_argument("--forms", action="store_true", help="compare forms instead; writes nothing")
    parser.add_argument(
        "--columns", action="store_true", help="hold the shipped numbers against every accuracy column; writes nothing"
    )
    parser.add_argument("--neck", action="store_true", help="what the neck's layers are worth; writes nothing")
    args = parser.parse_args()
    evidence = Evidence.read(args.data)
    if args.neck:
        print(neck_layers(evidence))
        return 0
    if args.forms or args.columns:
        print(compare(evidence) if args.forms else columns(evidence))
        return 0
    found = report(evidence, Form())
    source = {
        "command": f"python benchmarks/fit_calibrated.py --data {args.data}", "target": TARGET, "scale": LINK,
        "points": len(evidence.y), "architectures": len(evidence.trained.graphs), "devices": list(DEVICES),
        "data": "YOLOBench (Lazarevich et al. 2023, arXiv 2307.13901; Deeplite/deeplite-torch-zoo, Apache-2.0)",
    }  # fmt: skip
    write_atomic(
        Path(args.out),
        "# Written by benchmarks/fit_calibrated.py; what the fields mean: docs/benchmarks/calibrated.md\n"
        + yaml.safe_dump(_rounded({"format": FORMAT, **found, "provenance": source}), sort_keys=False),
    )
    errors = found["errors"]
    rows = [[name, *(errors[name][key] for key in (*DEVICES, "mean", "regret", "all"))] for name in ("fitted", *GROUPS)]
    print(
        table(
            ["left out", "Jetson Nano", "OpenVINO", "Pi 4", "A40", "mean", "regret", "all points"],
            [["nothing" if r[0] == "fitted" else r[0], *r[1:]] for r in rows],
        )
    )
    low, high = errors["interval"]
    print(
        f"\nfamily left out: 95 % interval of the mean {low:.3f} to {high:.3f} (architectures drawn {DRAWS} times); "
        f"error {errors['rmse']:.2f} mAP points"
    )
    print(
        table(
            ["family", "points", "bias", "rmse", "tau within"],
            [[name, *line.values()] for name, line in errors["by_family"].items()],
        )
    )
    top = ceiling(evidence)
    print(
        f"\nceilings: {top['additive']:.3f} with a free effect for every architecture and input size; "
        f"{top['noise']:.3f} between that surface and itself with its residual noise (sd {top['sd']:.4f})"
    )
    print(f"written to {args.out}: {Calibration.load(Path(args.out))}")
    return 0


def _rounded(data: Any) -> Any:
    """Floats to six significant digits."""
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.6g}") if isinstance(data, float) else data


if __name__ == "__main__":
    raise SystemExit(main())
