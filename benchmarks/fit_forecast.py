"""Fit the score ``forecast`` to all trained detectors, judge it on families left out, and write its numbers.

    python benchmarks/fit_forecast.py --data ../shared/atlas --data ../shared/yolobench --data docs/benchmarks/own-truth
    python benchmarks/fit_forecast.py ... --forms       # compares the forms, chosen anew without every group
    python benchmarks/fit_forecast.py --data ../shared/atlas --data my-data --out mine.yaml
    nas search --budget 3ms --device t4 --score mine.yaml

A folder of yours has the layout of docs/atlas.md: accuracy.csv with coco_val_map50_95 or another accuracy, graphs, and
trainings.csv where recipes differ. Nothing is random but the bootstrap of the intervals, which is seeded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nas.evidence.columns import depth, flops, params
from nas.evidence.forecast.evidence import COCO, Evidence, read_evidence
from nas.evidence.forecast.judge import ALL_RECIPES, COCO_ONLY, TruthTable, signs_of, truth_tables
from nas.evidence.forecast.left_out import LeftOut, Nested, leave_groups_out, nested
from nas.evidence.forecast.mixed import Design, Fit, Whitened, to_plain
from nas.evidence.statistics.accuracy import Estimate
from nas.scores import get_score
from nas.scores.forecast import FILE, FORMAT
from nas.scores.forecast_terms import TERMS, Form
from search_spaces.graph import Graph
from workbench.console import table
from workbench.files import write_atomic

DEVICES = {
    "atlas": (
        "jetson_orin_trt_fp16_total_ms", "raspberrypi5_ort_fp32_total_ms", "raspberrypi5_ncnn_fp32_total_ms",
        "raspberrypi5_pytorch_fp32_total_ms", "rtx5070ti_trt_fp16_total_ms",
    ),
    "yolobench": (
        "jetson_nano_gpu_ort_fp32_ms", "intel_i7_10875h_cpu_openvino_fp32_ms", "raspberrypi4_cpu_tflite_fp32_ms",
        "nvidia_a40_gpu_tensorrt_ms",
    ),
}  # fmt: skip
"""Latency columns that are judged, by the name of the folder; those of other folders all are."""
DRAWS = 1000
AIMS = {COCO_ONLY: 0.5, ALL_RECIPES: 0.5, "voc_scratch_map50_95": 0.7, "coco_pretrain_map50_95": 0.72}
"""Tau to reach with families left out, stated before the fit. The form of the greatest least margin is chosen; our own
trainings do not choose."""
APART = (("size",), ("widths",), ("heads",), ("depth",), ("attention",))
TOGETHER = (("size",), ("widths", "heads"), ("depth",), ("attention",))
BASE = Design(Form(), TOGETHER)
RIVALS: dict[str, Callable[[Graph, int], float]] = {"flops": flops, "params": params, "depth": depth}
RIVAL_SCORES = ("activations", "maxent", "deepmad", "calibrated")


def forms() -> dict[str, Design]:
    """The forms that are compared, each one step from the first, with its reason in the documentation."""

    def other(**changes: Any) -> Design:
        return replace(BASE, form=replace(BASE.form, **changes))

    return {
        "as shipped": BASE,
        "input side: its logarithm": other(bend=0.0),
        "input side: returns diminish faster": other(bend=1.0),
        "widths and heads priced apart": replace(BASE, groups=APART),
        "entrances: no saturation": other(saturation=1e9),
        "entrances: strong saturation": other(saturation=16.0),
        "entrances: no limit to expansion": other(expansion=1e9),
        "entrances: the narrowest place": other(expansion=1.0),
        "a layer counts half at 32 channels": other(half_width=32.0),
        "depth: layers without a bypass too": other(bypassed=False),
        "depth: of the backbone alone": other(neck=0.0),
        "depth: neck like backbone": other(neck=1.0),
        "root of attention layers": replace(BASE, root=("attention",)),
        "no attention": replace(BASE, groups=TOGETHER[:3]),
        "no depth": replace(BASE, groups=(*TOGETHER[:2], TOGETHER[3])),
    }


@dataclass(frozen=True)
class SizeColumn:
    """A rival with the same model around it: one plain size beside recipe terms and remainders."""

    name: str
    values: np.ndarray

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """One slope for the size; the input side has none of its own."""
        return (("size",), (self.name,))

    def columns(self, evidence: Evidence) -> np.ndarray:
        """``[n, 2]``: no input term, and the size."""
        return np.column_stack([np.zeros(len(evidence)), self.values])


def signs_of_forecast(item: TruthTable, found: LeftOut, evidence: Evidence) -> np.ndarray:
    """The order of a table's points: by the score, and with recipes mixed by the forecast with its recipe terms."""
    return found.signs(evidence, item.rows, recipes=item.name == ALL_RECIPES)


def margin(evidence: Evidence, tables: list[TruthTable], found: LeftOut, part: np.ndarray) -> float:
    """Least margin of tau over ``AIMS`` within a part of the evidence."""
    margins = []
    for item in tables:
        aim = AIMS.get(item.name.rpartition("/")[2])
        if aim is not None:
            inside = item.part(part)
            margins.append(inside.mean_tau(signs_of_forecast(inside, found, evidence)) - aim)
    return float(np.nanmin(margins))


def rivals(evidence: Evidence) -> dict[str, np.ndarray]:
    """Values of plain sizes and other scores at every point ``[n]``; -inf where one refuses."""
    found: dict[str, np.ndarray] = {}
    known: dict[tuple[str, int], dict[str, float]] = {}
    for name, px in zip(evidence.name.tolist(), evidence.input_px.tolist(), strict=True):
        if (name, px) not in known:
            graph = evidence.atlas.graphs[name]
            known[name, px] = {rival: of(graph, px) for rival, of in RIVALS.items()}
            known[name, px] |= {rival: get_score(rival)(graph, px).value for rival in RIVAL_SCORES}
    points = list(zip(evidence.name.tolist(), evidence.input_px.tolist(), strict=True))
    for rival in (*RIVALS, *RIVAL_SCORES):
        column = np.array([known[point][rival] for point in points])
        found[rival] = np.where(np.isfinite(column), column, -np.inf)
    return found


def judged(
    tables: list[TruthTable], columns: Mapping[str, Callable[[TruthTable], np.ndarray]], draws: int
) -> dict[str, Any]:
    """By table and column: tau, regret, tau by device, and the lead of every ``forecast`` over rivals."""
    found: dict[str, Any] = {}
    for item in tables:
        estimates = {name: item.estimates(order(item), draws) for name, order in columns.items()}
        rows: dict[str, Any] = {}
        for name, (tau, regret, by_device) in estimates.items():
            rows[name] = {
                "tau": tau.to_dict(), "regret": regret.to_dict(), "by_device": by_device,
                "lead": {
                    other: _lead(estimates["forecast"][0], tau).to_dict() for other in [name] if name != "forecast"
                },
            }  # fmt: skip
        found[item.name] = {"points": len(item.rows), "networks": len(set(item.names.tolist())), "rows": rows}
    return found


def _lead(first: Estimate, second: Estimate) -> Estimate:
    return Estimate.of(first.value - second.value, first.draws - second.draws)


def report(found: dict[str, Any]) -> str:
    """Tables as text: tau with its 90 % interval, the forecast's lead, regret, and tau by device."""
    lines = []
    for name, part in found.items():
        devices = list(next(iter(part["rows"].values()))["by_device"])
        rows = []
        for column, row in part["rows"].items():
            ahead = row["lead"].get(column)
            rows.append([
                column, _interval(row["tau"]), "" if ahead is None else _interval(ahead, "+"),
                f"{row['regret']['value']:.1f}", *(f"{row['by_device'][d]:.2f}" for d in devices),
            ])  # fmt: skip
        header = ["", "tau at equal latency (90 %)", "forecast is ahead by", "regret", *(d[:24] for d in devices)]
        lines += [f"{name}: {part['points']} points, {part['networks']} networks", table(header, rows), ""]
    return "\n".join(lines)


def _interval(estimate: Mapping[str, float | None], sign: str = "") -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "-"
    return f"{value:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


def compare(evidence: Evidence, tables: list[TruthTable]) -> tuple[str, Nested]:
    """Every form with groups left out, and the one chosen anew without each group."""
    problems = {name: Whitened(evidence, design) for name, design in forms().items()}
    everything = np.ones(len(evidence), dtype=bool)

    def row(name: str, found: LeftOut) -> list[str]:
        taus = (item.mean_tau(signs_of_forecast(item, found, evidence)) for item in tables)
        return [name, f"{margin(evidence, tables, found, everything):+.3f}", *(f"{tau:.2f}" for tau in taus)]

    rows = [row(name, leave_groups_out(problem)) for name, problem in problems.items()]
    chosen = nested(problems, lambda found, part: margin(evidence, tables, found, part))
    honest = row("chosen without each group", chosen.predicted)
    header = ["form", "least margin", *(item.name.rpartition("/")[2][:16] for item in tables)]
    lines = [table(header, [*rows, honest]), ""]
    lines += [f"without {group}: {name}" for group, name in chosen.chosen.items()]
    lines.append(f"90 % intervals of the other groups cover {np.nanmean(chosen.covered):.1%} of the COCO points")
    return "\n".join(lines), chosen


def file_of(evidence: Evidence, fit: Fit, found: LeftOut, command: str) -> dict[str, Any]:
    """What the score's file holds."""
    design = BASE.form
    coco = evidence.source == COCO
    terms = evidence.terms(design)[coco]
    return {
        "format": FORMAT,
        "form": vars(design),
        **{name: part for name, part in to_plain(fit).items() if name != "sources"},
        "left_out": list(found.interval(evidence, np.ones(len(evidence), dtype=bool))),
        "ranges": {name: [float(v.min()), float(v.max())] for name, v in zip(TERMS, terms.T, strict=True)},
        "sources": to_plain(fit)["sources"],
        "provenance": {
            "command": command, "scale": "-ln(1 - AP)", "points": len(evidence),
            "networks": len(set(evidence.name.tolist())), "groups": sorted(set(evidence.group.tolist())),
        },
    }  # fmt: skip


def main() -> int:
    """Fit and write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, action="append", metavar="DIR", help="trained detectors; repeatable")
    parser.add_argument("--out", default=str(FILE), metavar="FILE", help="where the numbers go (default: as shipped)")
    parser.add_argument("--forms", action="store_true", help="compare forms instead; writes nothing")
    parser.add_argument("--draws", type=int, default=DRAWS, metavar="N", help=f"bootstrap resamples (default {DRAWS})")
    args = parser.parse_args()
    evidence = read_evidence(args.data)
    tables = truth_tables(evidence, DEVICES)
    if args.forms:
        print(compare(evidence, tables)[0])
        return 0
    problem = Whitened(evidence, BASE)
    fit = problem.fit(set(evidence.group.tolist()))
    found = leave_groups_out(problem)
    data = " ".join(f"--data {name}" for name in args.data)
    write_atomic(
        Path(args.out),
        "# Written by benchmarks/fit_forecast.py; what the fields mean: docs/benchmarks/forecast.md\n"
        + yaml.safe_dump(
            _rounded(file_of(evidence, fit, found, f"python benchmarks/fit_forecast.py {data}")), sort_keys=False
        ),
    )
    plain = rivals(evidence)
    sized = leave_groups_out(Whitened(evidence, SizeColumn("activations", plain["activations"])))
    columns: dict[str, Callable[[TruthTable], np.ndarray]] = {
        "forecast": lambda item: signs_of_forecast(item, found, evidence),
        **{name: lambda item, v=v: signs_of(v[item.rows]) for name, v in plain.items()},  # type: ignore[misc]
        "activations, recipe terms": lambda item: signs_of_forecast(item, sized, evidence),
    }
    print(report(judged(tables, columns, args.draws)))
    print(yaml.safe_dump(_rounded(to_plain(fit)), sort_keys=False))
    print(f"written to {args.out}")
    return 0


def _rounded(data: Any) -> Any:
    """Floats to six significant digits."""
    if isinstance(data, Mapping):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    return float(f"{data:.6g}") if isinstance(data, float) else data


if __name__ == "__main__":
    raise SystemExit(main())
