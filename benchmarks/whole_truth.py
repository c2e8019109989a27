"""Does searching the whole detector help? Search the candidates, then judge what their trainings came to.

    python benchmarks/whole_truth.py candidates --space docs/benchmarks/whole/whole.yaml --out docs/benchmarks/whole
    nas bench-scores --data runs/whole --train --design docs/benchmarks/whole/design.yaml ...
    python benchmarks/whole_truth.py judge --data docs/benchmarks/whole --page docs/benchmarks/whole.md

``candidates`` scales the channels of a published detector by each of ``--scales``; its predicted latency is a budget.
At every budget it takes four arms: the proved best of the space (``whole``), the proved best with neck, head and input
side of the published detector (``fixed``), the published detector itself (``published``), and random candidates within
3 % below the budget (``random``). It writes a design for ``nas bench-scores --train``, ``candidates.csv`` and the
spaces of ``fixed``. ``judge`` reads these and the trained folder. It trains nothing.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scores import markdown, write_page  # the script beside this one

import nas
from nas.budgets import LATENCY, parse_budget
from nas.costs import architecture_costs
from nas.devices.profile import DeviceProfile, load_device
from nas.evidence.own.request import DEVICE
from nas.scores import get_score
from nas.searcher.evaluator import whole_limits
from nas.variant_costs import space_costs
from search_spaces.architecture import Architecture
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space, read_space
from workbench.doors.yaml import yaml_text
from workbench.errors import BadInput
from workbench.files import write_atomic
from zoo.resolve import ResolvedModel

ARMS = ("whole", "fixed", "published", "random")
SCORE = "calibrated"
BELOW = 0.03
"""Random candidates cost from this share below the budget up to the budget."""
ROUND, ROUNDS = 4096, 2000
"""Rows a round of random sampling, and rounds before a budget is given up."""
CONFIDENCE = 0.9
COLUMNS = ("name", "arm", "budget_ms", "digest", "score", "proved", "options")


@dataclass(frozen=True)
class Candidate:
    """An architecture to train, and where it is from."""

    arm: str
    budget_ms: float
    architecture: Architecture
    """Named, with its input side."""
    proved: bool = False
    options: int = 0
    """Architectures of the space that the proof is over; 0 without a proof."""

    def row(self) -> list[Any]:
        """A line of ``candidates.csv``."""
        arch = self.architecture
        assert arch.input_px is not None
        score = get_score(SCORE)
        value = score(*ResolvedModel("", arch).score_graph(arch.input_px, score.deployed)).value
        proof = [self.proved or "", self.options or ""]
        return [arch.name, self.arm, self.budget_ms, arch.digest(), f"{value:.6f}", *proof]


def main() -> None:
    """Write candidates, or judge trainings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    add = verbs.add_parser("candidates", help="search and sample what is to be trained").add_argument
    add("--space", required=True, type=Path, help="space file of the whole detector, with its input sides")
    add("--out", required=True, type=Path, help="folder for the design, candidates.csv and the fixed spaces")
    add("--published", default="damo-yolo-t", choices=sorted(PUBLISHED), help="the published detector (damo-yolo-t)")
    add("--input", type=int, default=96, help="its input side in pixels (96)")
    add("--scales", type=float, nargs="+", default=[0.1875, 0.25, 0.3125], help="factors of its channels")
    add("--random", type=int, default=3, help="random candidates a budget (3)")
    add("--seed", type=int, default=0, help="of the random candidates (0)")
    add("--device", default=DEVICE, help=f"profile that predicts the latency ({DEVICE})")
    add("--time-limit-s", type=float, default=1800.0, help="of each search (1800)")
    add("--runs", default="runs", help="folder for the searches' run folders (runs)")
    add = verbs.add_parser("judge", help="print what the trainings came to").add_argument
    add("--data", required=True, type=Path, help="folder with candidates.csv and trained.jsonl")
    add("--page", type=Path, help="Markdown page whose part between the marks is replaced")
    args = parser.parse_args()
    if args.verb == "candidates":
        make_candidates(args)
        return
    text = judge(args.data)
    print(text)
    if args.page is not None:
        write_page(args.page, text)


def make_candidates(args: argparse.Namespace) -> None:
    """Search and sample at every budget, and write the files."""
    args.out.mkdir(parents=True, exist_ok=True)
    device, step = load_device(args.device), load_space(str(args.space)).channel_step
    classes = load_space(str(args.space)).head.classes
    found: list[list[Candidate]] = []
    for scale in args.scales:
        published = scaled(PUBLISHED[args.published], scale, step, classes, args.input)
        budget_ms = math.ceil(1000 * architecture_costs(published, args.input, device).costs[LATENCY]) / 1000
        fixed = args.out / f"fixed-{budget_ms}ms.yaml"
        write_atomic(fixed, fixed_space(args.space.read_text(encoding="utf-8"), published))
        found.append([
            searched("whole", args.space, budget_ms, args),
            searched("fixed", fixed, budget_ms, args),
            Candidate("published", budget_ms, published),
            *random_candidates(args.space, budget_ms, device, args.random, args.seed),
        ])  # fmt: skip
    ordered = [named(candidate) for candidate in itertools.chain(*itertools.zip_longest(*found)) if candidate]
    architectures = [candidate.architecture.to_dict() for candidate in ordered]
    design = {"name": "whole", "doc": "Candidates of benchmarks/whole_truth.py.", "architectures": architectures}
    write_atomic(args.out / "design.yaml", yaml_text(design, default_flow_style=None, width=120))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *(candidate.row() for candidate in ordered)])
    write_atomic(args.out / "candidates.csv", text.getvalue())
    print(text.getvalue())
    print(
        f"train them with: nas bench-scores --data runs/whole --train --design {args.out / 'design.yaml'} --seeds 3 "
        f"--pictures digits --input {args.input} --device {args.device} --epochs 1 --batch 32 "
        "--set augmentation=none --set nominal_batch=32"
    )


def named(candidate: Candidate) -> Candidate:
    """The candidate with a name of its own: arm, budget, and for random ones the number."""
    arch, budget = candidate.architecture, f"{candidate.budget_ms:.3g}ms"
    name = "-".join(filter(None, [candidate.arm, budget, arch.name if candidate.arm == "random" else ""]))
    return dataclasses.replace(candidate, architecture=dataclasses.replace(arch, name=name))


def scaled(arch: Architecture, scale: float, step: int, classes: int, input_px: int) -> Architecture:
    """``arch`` with all channels multiplied by ``scale`` and rounded to multiples of ``step``."""

    def width(value: int) -> int:
        return max(1, round(value * scale / step)) * step

    assert arch.neck is not None and arch.head is not None
    return dataclasses.replace(
        arch,
        stem=dataclasses.replace(arch.stem, out=width(arch.stem.out)),
        stages=tuple(dataclasses.replace(s, out=width(s.out), btn=width(s.btn)) for s in arch.stages),
        neck=dataclasses.replace(arch.neck, out=tuple(map(width, arch.neck.out))),
        head=dataclasses.replace(arch.head, classes=classes),
        input_px=input_px,
    )


def fixed_space(text: str, published: Architecture) -> str:
    """The space file with neck, head and input side of ``published``; the backbone stays open."""
    whole, data = read_space(text), yaml.safe_load(text)
    if reason := whole.why_not(published):
        shape = f"{published.name} with {_dashed([stage.out for stage in published.stages])} channels"
        raise BadInput(f"{shape} does not lie in the space {whole.name!r}: {reason}; widen its ranges")
    assert published.neck is not None and published.head is not None
    data |= {
        "name": "fixed",
        "doc": f"The backbone of {whole.name} with neck, head and side of {published.name}, scaled.",
        "input": published.input_px,
        "neck": published.neck.to_dict() | {"out": list(published.neck.out)},
        "head": published.head.to_dict(),
    }
    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120))


def searched(arm: str, space: Path, budget_ms: float, args: argparse.Namespace) -> Candidate:
    """The proved best of the space within the budget."""
    outcome = nas.search(
        f"{budget_ms}ms", args.device, space=str(space), score=SCORE, strategy="exact", runs=args.runs,
        name=f"whole-truth-{arm}-{budget_ms}ms", time_limit_s=args.time_limit_s, pictures=False, quiet=True,
    )  # fmt: skip
    proof, arch = outcome.certificate, outcome.best.architecture
    if proof is None or not proof["proved"]:
        raise BadInput(f"the best of {space} within {budget_ms} ms was not proved: give --time-limit-s more")
    arch = dataclasses.replace(arch, input_px=arch.input_px or args.input)
    return Candidate(arm, budget_ms, arch, True, int(proof["options"]))


def random_candidates(space: Path, budget_ms: float, device: DeviceProfile, count: int, seed: int) -> list[Candidate]:
    """The first ``count`` different rows of uniform samples that cost from 3 % below the budget up to it."""
    opened, rng = load_space(str(space)), np.random.default_rng(seed)
    costs = space_costs(opened, device)
    (limit,) = whole_limits(costs, [parse_budget(f"{budget_ms * (1 - BELOW):.6g}..{budget_ms}ms")])
    rows: dict[bytes, np.ndarray] = {}
    for _ in range(ROUNDS):
        drawn = opened.sample(ROUND, rng)
        value = costs.costs(drawn)[limit.name]
        for row in drawn[(limit.low <= value) & (value <= limit.high)]:
            rows.setdefault(row.tobytes(), row)
            if len(rows) == count:
                return [
                    Candidate("random", budget_ms, opened.decode(found, str(number)))
                    for number, found in enumerate(rows.values(), start=1)
                ]
    raise BadInput(f"of {ROUND * ROUNDS:,} architectures of {space} only {len(rows)} of {count} keep {limit.text}")


def judge(folder: Path) -> str:
    """Tables of what the trainings in ``folder`` came to, as Markdown."""
    with (folder / "candidates.csv").open(encoding="utf-8", newline="") as file:
        candidates = {row["name"]: row for row in csv.DictReader(file)}
    lines = (folder / "trained.jsonl").read_text(encoding="utf-8").splitlines()
    records = {record["name"]: record for record in map(json.loads, lines)}
    if strange := sorted(set(records) - set(candidates)):
        raise BadInput(f"{folder / 'candidates.csv'} lacks {strange[0]!r}, which trained.jsonl has")
    aps = {
        name: {run["seed"]: 100 * run["ap"] for run in record["runs"] if "ap" in run}
        for name, record in records.items()
    }
    seeds = sorted({seed for of_seed in aps.values() for seed in of_seed})
    trained = sum(len(of_seed) for of_seed in aps.values())
    facts = [
        f"{trained} trainings of {len(records)} of {len(candidates)} candidates, seeds {', '.join(map(str, seeds))}.",
        candidates_table(candidates, records, aps, seeds),
        "AP points that `whole` is ahead, at equal latency and with the same seed:",
        differences_table(candidates, aps, seeds),
        ordered_pairs(candidates, aps),
    ]
    return "\n\n".join(facts)


def candidates_table(
    candidates: Mapping[str, Mapping[str, str]],
    records: Mapping[str, Mapping[str, Any]],
    aps: Mapping[str, Mapping[int, float]],
    seeds: Sequence[int],
) -> str:
    """A line a candidate: what it is, what it costs, and AP of every seed."""
    rows = []
    for name, candidate in sorted(candidates.items(), key=lambda item: (float(item[1]["budget_ms"]), item[0])):
        if name not in records:
            continue
        record, of_seed = records[name], aps[name]
        arch, costs = Architecture.from_dict(record["architecture"]), record["costs"]
        assert arch.neck is not None
        widths, depths = ([getattr(stage, field) for stage in arch.stages] for field in ("out", "depth"))
        neck = f"{_dashed(arch.neck.out)}, depth {arch.neck.depth:g}, hidden {arch.neck.hidden_ratio:g}"
        rows.append([
            f"{float(candidate['budget_ms']):.2f}", candidate["arm"], str(record["input_px"]), _dashed(widths),
            _dashed(depths), neck, f"{costs['latency_ms']:.2f}", f"{costs['flops'] / 1e6:.0f}",
            f"{costs['params'] / 1e3:.0f}", f"{float(candidate['score']):.3f}",
            ", ".join(f"{of_seed[seed]:.1f}" if seed in of_seed else "-" for seed in seeds),
            f"{np.mean(list(of_seed.values())):.1f}" if of_seed else "",
        ])  # fmt: skip
    header = [
        "budget, ms", "arm", "side", "widths of the stages", "depths", "neck", "predicted ms", "MFLOPs",
        "parameters, thousand", SCORE, "AP of each seed, %", "mean",
    ]  # fmt: skip
    return markdown(header, rows)


def arm_values(
    candidates: Mapping[str, Mapping[str, str]], aps: Mapping[str, Mapping[int, float]], seeds: Sequence[int]
) -> tuple[list[float], dict[str, np.ndarray]]:
    """Budgets, and AP in points of every arm, ``[budgets, seeds]``: the median over its candidates, else NaN."""
    budgets = sorted({float(candidate["budget_ms"]) for candidate in candidates.values()})
    values = {arm: np.full((len(budgets), len(seeds)), np.nan) for arm in ARMS}
    for arm, (row, budget), (column, seed) in itertools.product(ARMS, enumerate(budgets), enumerate(seeds)):
        names = [n for n, c in candidates.items() if c["arm"] == arm and float(c["budget_ms"]) == budget]
        found = [aps[name][seed] for name in names if seed in aps.get(name, {})]
        if found and len(found) == len(names):
            values[arm][row, column] = np.median(found)
    return budgets, values


def differences_table(
    candidates: Mapping[str, Mapping[str, str]], aps: Mapping[str, Mapping[int, float]], seeds: Sequence[int]
) -> str:
    """A line for each other arm: the difference at every budget, its mean, and Student intervals."""
    budgets, values = arm_values(candidates, aps, seeds)
    rows = []
    for arm in ARMS[1:]:
        ahead = values[ARMS[0]] - values[arm]
        complete = ahead[:, ~np.isnan(ahead).any(axis=0)]
        by_budget = [_mean_of(row) for row in ahead]
        known = np.array([value for value in by_budget if not math.isnan(value)])
        rows.append([
            f"{ARMS[0]} - {arm}" + (" (median)" if arm == "random" else ""), *(_signed(value) for value in by_budget),
            _signed(_mean_of(known)), _interval(known), _interval(complete.mean(axis=0)),
        ])  # fmt: skip
    percent = f"{100 * CONFIDENCE:.0f} %"
    header = ["", *(f"{budget:.2f} ms" for budget in budgets), "mean"]
    return markdown([*header, f"{percent} over budgets", f"{percent} over seeds"], rows)


def ordered_pairs(candidates: Mapping[str, Mapping[str, str]], aps: Mapping[str, Mapping[int, float]]) -> str:
    """In how many pairs of one budget the higher score has the higher mean AP: among all, and among random ones."""
    right, total = {"all": 0, "random": 0}, {"all": 0, "random": 0}
    for (first, a), (second, b) in itertools.combinations(candidates.items(), 2):
        same = a["budget_ms"] == b["budget_ms"] and a["digest"] != b["digest"]
        if not (same and aps.get(first) and aps.get(second)):
            continue
        ap = np.mean(list(aps[first].values())) - np.mean(list(aps[second].values()))
        for group in ("all", "random") if a["arm"] == b["arm"] == "random" else ("all",):
            total[group] += 1
            right[group] += (float(a["score"]) - float(b["score"])) * ap > 0
    return (
        f"Of {total['all']} pairs of candidates at one budget, `{SCORE}` has {right['all']} in the order of their AP, "
        f"and {right['random']} of the {total['random']} pairs of random ones."
    )


def _mean_of(values: np.ndarray) -> float:
    """Mean without NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _interval(values: np.ndarray) -> str:
    """Student interval of the mean of ``values`` ``[n]``; empty for fewer than two."""
    from scipy import stats

    if len(values) < 2:
        return "-"
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean() - half:+.1f} to {values.mean() + half:+.1f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.1f}"


def _dashed(values: Sequence[int]) -> str:
    return "-".join(map(str, values))


if __name__ == "__main__":
    main()
