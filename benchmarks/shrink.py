"""What shrinking is worth: children at half of their parents' latency, taught, beside their controls.

    python benchmarks/digits.py --look large --images 4000 --side 64 --out digits-large
    python benchmarks/digits.py --look target --side 64 --out digits-target
    nas train yolo11s --data digits-large --input 64 --recipe small --set augmentation=none --epochs 5 --name yolo11s
    (the same for yolo11n, yolox-s, yolox-tiny, damo-yolo-s and damo-yolo-t)
    python benchmarks/shrink.py --trained runs --data digits-target --runs runs/shrink --out docs/benchmarks/shrink

Every parent is cut to a share of its own latency on a device profile, by importance on the target set, and then four
starts are trained at the same steps with several seeds: the child taught by its parent, the child without a teacher,
its architecture from random weights, and the next smaller stock size, which was trained on the large set like the
parent. ``--tuned`` adds the child taught by the parent after it was fine-tuned on the target set for as many steps: a
parent that does not know the target set has little to teach. One parent after the other, one seed after the other; the
same command goes on after an interruption, and what is written to ``--out`` is complete up to there.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from distill.data.formats.readers import open_data
from distill.importance.measure import MeasureOptions, measure_importance
from distill.prepare import train_from
from distill.request import TrainRequest
from distill.study.recovery import RecoveryRequest, recover
from distill.study.recovery_result import RANDOM, TAUGHT, UNTAUGHT, RecoveryResult
from nas.budgets import LATENCY, parse_budget
from nas.costs import graph_costs, latency_profiles
from nas.devices.profile import load_device
from nas.shrinking.choice import Chooser
from workbench.console import Progress
from workbench.files import write_atomic
from zoo.detector import Detector
from zoo.pruning.apply import apply_cuts
from zoo.pruning.groups import channel_groups
from zoo.pruning.lineage import child_info
from zoo.weights.checkpoint import load, save

PAIRS = ("yolo11s:yolo11n", "yolox-s:yolox-tiny", "damo-yolo-s:damo-yolo-t")
CHANGES = ("augmentation=none", "warmup_epochs=1")
"""Of the recipe ``small``: a mirrored digit is no digit, and the runs are short."""
BEST = "best.safetensors"
AS_IT_WAS = "taught before fine-tuning"
WORDS = {
    TAUGHT: "(a) child, taught", AS_IT_WAS: "(a') child, taught by the parent before fine-tuning",
    UNTAUGHT: "(b) child, untaught", RANDOM: "(c) same architecture, random weights",
}  # fmt: skip


class Bench:
    """Everything in one folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.runs, self.out = args, Path(args.runs), Path(args.out)
        self.profile = load_device(args.device)
        self.progress = Progress(args.quiet)

    def checkpoint(self, model: str) -> Path:
        """The trained detector of ``model``."""
        return Path(self.args.trained) / model / BEST

    def latency_ms(self, detector: Detector) -> float:
        """Predicted latency at the input of the experiment."""
        graph = detector.graph(self.args.input)
        return float(graph_costs(graph, self.args.input, [self.profile]).costs[LATENCY])

    def child(self, model: str) -> tuple[Path, dict[str, Any]]:
        """The cut detector's checkpoint, made once, and what was chosen."""
        folder = self.runs / f"child-{model}"
        file, told = folder / "child.safetensors", folder / "choice.json"
        if told.exists() and file.exists():
            return file, json.loads(told.read_text())
        folder.mkdir(parents=True, exist_ok=True)
        parent = load(self.checkpoint(model))
        groups = channel_groups(parent)
        options = MeasureOptions(images=self.args.importance_images, input_px=self.args.input)
        data = open_data(self.args.data, "train")
        scores = measure_importance(
            parent, groups, data=data, options=options, folder=folder, progress=self.progress
        )  # fmt: skip
        parent_ms = self.latency_ms(parent)
        budget = parse_budget(f"{self.args.share * parent_ms:.6f}ms")
        chooser = Chooser(parent, scores, latency_profiles([self.profile]), self.args.input)
        choice = chooser.choose([budget], seconds=self.args.solver_seconds, report=self.progress.show)
        child = copy.deepcopy(parent)
        apply_cuts(child, choice.cuts, groups)
        child.recipe = dataclasses.replace(parent.recipe, cuts=parent.recipe.cuts.then(choice.cuts))
        child.info = child_info(parent, hashlib.sha256(self.checkpoint(model).read_bytes()).hexdigest())
        save(child, file)
        facts = {
            "parent_ms": parent_ms, "child_ms": self.latency_ms(child), "value": choice.value, "gap": choice.gap,
            "parameters": sum(p.numel() for p in child.parameters()),
            "parent_parameters": sum(p.numel() for p in parent.parameters()), "skipped": list(choice.cuts.skipped),
        }  # fmt: skip
        write_atomic(told, json.dumps(facts, indent=1))
        return file, facts

    def training(self, model: str, name: str, epochs: int) -> TrainRequest:
        """A training on the target set."""
        args = self.args
        return TrainRequest(
            model, str(args.data), recipe="small", changes=CHANGES, epochs=epochs, batch=args.batch,
            input_px=args.input, data_workers=0, name=name, runs=str(self.runs), quiet=args.quiet,
        )  # fmt: skip

    def tuned(self, model: str) -> Path:
        """The parent after as many steps on the target set as its child has, trained once."""
        return train_from(self.training(str(self.checkpoint(model)), f"tuned-{model}", self.args.epochs)).last

    def run(self, pair: str, report: Callable[[str], None]) -> None:
        """Train everything of one pair; ``report`` takes its part of the page after every seed."""
        model, _, stock = pair.partition(":")
        child, facts = self.child(model)
        stock_ms = self.latency_ms(load(self.checkpoint(stock))) if stock else 0.0

        def write(result: RecoveryResult) -> None:
            write_atomic(self.out / f"{model}.csv", result.to_csv())
            lines = [*self._table(model, stock, result, facts, stock_ms), "", *_ends(result), ""]
            report("\n".join(lines))

        request = self.request(child, model, stock)
        for seeds in range(1, self.args.seeds + 1):
            result = recover(dataclasses.replace(request, seeds=seeds))
            facts["parent_ap"] = result.parent_ap
            if self.args.tuned:
                training = self.training("", f"recover-{model}-tuned", self.args.epochs)
                tuned = recover(RecoveryRequest(str(child), str(self.tuned(model)), training, seeds=seeds))
                facts["tuned_ap"] = tuned.parent_ap
                result = _combined(tuned, result)
            write(result)

    def request(self, child: Path, model: str, stock: str) -> RecoveryRequest:
        """The recovery of one child with all controls."""
        training = self.training("", f"recover-{model}", self.args.epochs)
        against = (str(self.checkpoint(stock)),) if stock else ()
        return RecoveryRequest(str(child), str(self.checkpoint(model)), training, True, against, self.args.seeds)

    def _table(
        self, model: str, stock: str, result: RecoveryResult, facts: dict[str, Any], stock_ms: float
    ) -> list[str]:
        saved = 100 * (1 - facts["parameters"] / facts["parent_parameters"])
        lines = [
            f"### {model} at {100 * facts['child_ms'] / facts['parent_ms']:.0f} % of its latency",
            "",
            f"Parent {facts['parent_ms']:.2f} ms; the child keeps {100 * facts['value']:.1f} % of the importance "
            f"(proved within {100 * facts['gap']:.2f} %) with {saved:.0f} % fewer parameters and "
            f"{len(facts['skipped'])} blocks skipped. AP of the parent on the target set: {facts['parent_ap']:.4f}"
            + (f" as it is, {facts['tuned_ap']:.4f} fine-tuned." if "tuned_ap" in facts else "."),
            "",
            "| start | ms | seeds | AP | 95 % interval | (a) ahead | 95 % interval | s a run |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for kind, seeds, ap, low, high, ahead, least, most, seconds in result.to_table()[1]:
            name = WORDS.get(kind, f"(d) {stock}, fine-tuned")
            gain = "" if ahead is None else f"{ahead:+.4f}"
            ms = facts["child_ms"] if kind in WORDS else stock_ms
            lines.append(
                f"| {name} | {ms:.2f} | {seeds} | {ap:.4f} | {_range(low, high)} | {gain} | "
                f"{_range(least, most, signed=True)} | {seconds:.0f} |"
            )
        return lines


def _combined(tuned: RecoveryResult, before: RecoveryResult) -> RecoveryResult:
    """The child taught by the tuned parent beside everything else."""
    others = {kind: runs for kind, runs in before.runs.items() if kind != TAUGHT}
    runs = {TAUGHT: tuned.runs[TAUGHT], AS_IT_WAS: before.runs[TAUGHT], **others}
    return RecoveryResult(tuned.folder, runs, tuned.notes, tuned.parent_ap)


def _ends(result: RecoveryResult) -> list[str]:
    """The verdict and the mean curves."""
    epochs = list(result.curve(TAUGHT))
    kinds = [WORDS.get(kind, "(d)").partition(" ")[0] for kind in result.runs]
    verdict = result.verdict()
    lines = [f"{verdict[0].upper()}{verdict[1:]}.", "", f"| after epoch | {' | '.join(map(str, epochs))} |"]
    lines.append("|---|" + "--:|" * len(epochs))
    for kind, word in zip(result.runs, kinds, strict=True):
        curve = result.curve(kind)
        lines.append(f"| {word} | {' | '.join(f'{curve[epoch]:.3f}' for epoch in epochs)} |")
    return lines


def _range(low: float | None, high: float | None, signed: bool = False) -> str:
    if low is None or high is None:
        return ""
    return f"{low:+.4f} to {high:+.4f}" if signed else f"{low:.4f} to {high:.4f}"


def main(words: list[str] | None = None) -> int:
    """Parse the arguments, train pair by pair, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), metavar="PARENT:STOCK")
    parser.add_argument("--trained", default="runs", help="folder of the trained detectors: MODEL/best.safetensors")
    parser.add_argument("--data", default="digits-target")
    parser.add_argument("--runs", default="runs/shrink")
    parser.add_argument("--out", default="shrink-results", help="folder for tables.md and one CSV a parent")
    parser.add_argument("--device", default="raspberry-pi-5")
    parser.add_argument("--share", type=float, default=0.5, help="of the parent's latency")
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--importance-images", type=int, default=256)
    parser.add_argument("--solver-seconds", type=float, default=60.0)
    parser.add_argument("--tuned", action="store_true", help="also teach by the parent fine-tuned on the target set")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args(words)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    bench = Bench(args)
    bench.out.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/shrink.py --epochs {args.epochs} --seeds {args.seeds} --share {args.share:g}"
    head = (
        f"`{command}`; {args.device} at {args.input} px; recipe small with {', '.join(CHANGES)}, batch {args.batch}, "
        f"{args.epochs} epochs; AP on the validation images after the last epoch, seeds 0 to {args.seeds - 1}; "
        f"{platform.machine()}, {torch.get_num_threads()} thread, no GPU, torch {torch.__version__}.\n"
    )
    parts: dict[str, str] = {}
    for pair in args.pairs:

        def report(part: str, pair: str = pair) -> None:
            parts[pair] = part
            write_atomic(bench.out / "tables.md", "\n".join([head, *parts.values()]))

        bench.run(pair, report)
        print(parts[pair], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
