"""Hold every score against the detectors that ``nas bench-scores --train`` trained, and write the page with its
pictures.

    python benchmarks/own_truth.py --data docs/benchmarks/own-truth/levels docs/benchmarks/own-truth \\
        --page docs/benchmarks/own-truth.md

Each folder becomes a section; the pictures are of the first. A folder whose trainings are of a design gets the effects
of its factors. Nothing is trained. Forward-pass scores come from the journal that ``nas bench-scores`` keeps, or are
computed: some minutes of one core.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scores import markdown, number, span, write_page  # the script beside this one

from nas.evidence.benchmark import REFERENCE
from nas.evidence.columns import score_columns, score_names
from nas.evidence.own.design import BAND
from nas.evidence.own.design_file import load_design
from nas.evidence.own.effects import Effect, MainEffects, main_effects, read_levels
from nas.evidence.own.pairs import (
    BETWEEN,
    OVERALL,
    WITHIN,
    ceilings,
    pair_masks,
    pair_taus,
    resamples,
    run_deviation,
    seed_taus,
)
from nas.evidence.run import FOLDER
from nas.evidence.statistics.accuracy import DRAWS, Estimate
from nas.evidence.trained import read_trained
from nas.report.canvas import BUDGET, COLOURS, FRONT, INK, MARKERS, new_figure, to_png
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import write_atomic

HELD = ("calibrated", "forecast", "activations", "maxent", "deepmad", "flops", "params", "depth")
"""Scores whose effects are held against those of the trained accuracy, where they exist."""
DRAWN = 4
"""Number of them in the picture."""


@dataclass(frozen=True)
class Trained:
    """A folder of our own trainings: what was trained, and each score's values."""

    folder: Path
    names: list[str]
    records: list[dict[str, Any]]
    """Lines of ``trained.jsonl``."""
    levels: list[dict[str, str]]
    """Levels by factor of every architecture; empty where they are of no design."""
    references: dict[str, str]
    """Reference level by factor."""
    seeds: np.ndarray
    """AP in points of every architecture and seed, ``[n, seeds]``; NaN where there is none."""
    scores: dict[str, np.ndarray]
    """Values ``[n]`` by score."""
    failures: dict[str, dict[str, str]]

    @property
    def ap(self) -> np.ndarray:
        """Mean AP over the seeds in points, ``[n]``; NaN without a finished training."""
        return np.array([np.nanmean(row) if not np.isnan(row).all() else np.nan for row in self.seeds])

    @property
    def bands(self) -> list[str]:
        """Latency band of every architecture."""
        return [levels.get(BAND, "one") for levels in self.levels]

    @property
    def families(self) -> list[str]:
        return [str(record["space"]) for record in self.records]


def main() -> None:
    """Judge, print, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, nargs="+", type=Path, help="folders that --train left")
    parser.add_argument("--page", type=Path, help="Markdown page whose part between the marks is replaced")
    parser.add_argument("--scores", nargs="+", default=score_names(), metavar="SCORE", help="only these (default: all)")
    parser.add_argument("--design", help="design of the trainings, where it is a file (default: by its name)")
    args = parser.parse_args()
    progress = Progress()
    sets = [read(folder, args.scores, args.design, progress) for folder in args.data]
    progress.done()
    text = "\n\n".join(section(found) for found in sets)
    print(text)
    if args.page is not None:
        write_page(args.page, "\n\n".join([*write_pictures(sets[0], args.page), text]))


def write_pictures(trained: Trained, page: Path) -> list[str]:
    """Write the pictures beside the page; the lines that show them there."""
    pictures = {page.with_suffix(".png"): (f"Where each score stands on `{trained.folder.name}`", taus_png(trained))}
    found = effects_of(trained)
    if found is not None:
        about = f"What the factors of `{trained.folder.name}` do to AP, and to scores"
        pictures[page.with_name(f"{page.stem}-effects.png")] = (about, effects_png(trained, found))
    for path, (_, png) in pictures.items():
        write_atomic(path, png)
    return [f"![{about}]({path.name})" for path, (about, _) in pictures.items()]


def read(folder: Path, names: Sequence[str], design: str | None, progress: Progress) -> Trained:
    """The folder, and the scores of its architectures."""
    points = read_trained(folder)
    columns = score_columns(points, names, folder=Path(FOLDER) / "journals", progress=progress)
    lines = (folder / "trained.jsonl").read_text(encoding="utf-8").splitlines()
    by_name = {record["name"]: record for record in map(json.loads, lines)}
    if missing := set(points.arch) - set(by_name):
        raise BadInput(f"{folder / 'trained.jsonl'} lacks {sorted(missing)[0]!r}, which accuracy.csv has")
    records = [by_name[name] for name in points.arch]
    numbers = sorted({run["seed"] for record in records for run in record["runs"]})
    seeds = np.full((len(records), len(numbers)), np.nan)
    for at, record in enumerate(records):
        for run in record["runs"]:
            seeds[at, numbers.index(run["seed"])] = 100 * run.get("ap", np.nan)
    levels = read_levels(folder)
    settings = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
    return Trained(
        folder=folder,
        names=[str(name) for name in points.arch],
        records=records,
        levels=[levels[name] for name in points.arch],
        references=references(design or settings.get("design")) if all(levels.values()) else {},
        seeds=seeds,
        scores={column.name: column.values for column in columns},
        failures={column.name: column.failures for column in columns if column.failures},
    )


def references(design: str) -> dict[str, str]:
    """Reference level of every factor of the design, and the first band."""
    read_design = load_design(design)
    firsts = {factor: next(iter(levels)) for factor, levels in (read_design.factors or {}).items()}
    return {**firsts, BAND: f"{read_design.bands_ms[0]:g}ms"}


def section(trained: Trained) -> str:
    """Everything that is said of one folder."""
    runs = int((~np.isnan(trained.seeds)).sum())
    facts = [
        f"### `{trained.folder.name}`: {len(trained.names)} architectures",
        f"{datetime.date.today()}: {runs} trainings of {len(trained.names)} architectures of"
        f" {len(set(trained.families))} spaces in {len(set(trained.bands))} latency bands, mean over the seeds;"
        f" {DRAWS:,} bootstrap draws, seed 0.",
        standing(trained),
        noise(trained),
    ]
    refused = [
        f"* {score} has no value for {name}: {reason}"
        for score, reasons in trained.failures.items()
        for name, reason in reasons.items()
    ]
    found = effects_of(trained)
    if found is not None:
        facts += ["#### What the factors do", effects_table(trained, found)]
    elif trained.references:
        facts.append("The architectures are too few yet to tell the factors' effects apart.")
    return "\n\n".join([*facts, *(["\n".join(refused)] if refused else []), "#### Trainings", trainings(trained)])


def taus(trained: Trained) -> dict[str, dict[str, Estimate]]:
    """Tau of every score over each kind of pairs, best over all pairs first."""
    masks = pair_masks(trained.bands, trained.families)
    weights = resamples(len(trained.names))
    found = {name: pair_taus(values, trained.ap, masks, weights) for name, values in trained.scores.items()}
    return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1][OVERALL].value, nan=-2)))


def standing(trained: Trained) -> str:
    """One line a score: tau over all pairs of equal latency, between and within spaces, and regret."""
    found = taus(trained)
    reference = found.get(REFERENCE)
    names = sorted(set(trained.families))
    rows = []
    for score, of in found.items():
        ahead = None
        if reference is not None and score != REFERENCE:
            own, other = of[OVERALL], reference[OVERALL]
            ahead = Estimate.of(own.value - other.value, own.draws - other.draws)
        rows.append([
            score,
            f"**{number(of[OVERALL])}** {span(of[OVERALL])}",
            "" if ahead is None else f"{ahead.value:+.2f} {span(ahead, '+')}",
            f"{number(of[BETWEEN])} {span(of[BETWEEN])}",
            f"{number(of[WITHIN])} {span(of[WITHIN])}",
            *(number(of[f"{WITHIN} {name}"]) for name in names),
            f"{regret(trained, score):.1f}",
        ])  # fmt: skip
    header = [
        "score", "τ (90 %)", f"ahead of {REFERENCE} (90 %)", "between spaces", "within spaces",
        *(f"in `{name}`" for name in names), "regret, AP points",
    ]  # fmt: skip
    return markdown(header, rows)


def regret(trained: Trained, score: str) -> float:
    """AP points that the score's pick is behind the best, mean over the bands."""
    bands, ap, values = np.array(trained.bands), trained.ap, trained.scores[score]
    behind = []
    for band in sorted(set(bands)):
        known = np.flatnonzero((bands == band) & ~np.isnan(ap) & ~np.isnan(values))
        if len(known):
            behind.append(ap[known].max() - ap[known[values[known].argmax()]])
    return float(np.mean(behind)) if behind else float("nan")


def noise(trained: Trained) -> str:
    """How far seeds agree, and what a perfect score would reach."""
    masks = pair_masks(trained.bands, trained.families)
    repeated = int(((~np.isnan(trained.seeds)).sum(axis=1) > 1).sum())
    if not repeated:
        return "Noise: no architecture has two trainings yet."
    agree, top = seed_taus(trained.seeds, masks), ceilings(trained.seeds, masks)
    spread = float(np.nanstd(trained.ap, ddof=1))
    rows = [[kind, f"{agree[kind]:.2f}", f"{top[kind]:.2f}"] for kind in (OVERALL, BETWEEN, WITHIN)]
    return (
        f"Noise: one training scatters by {run_deviation(trained.seeds):.2f} AP points between seeds ({repeated}"
        f" architectures have two or more); the architectures' means scatter by {spread:.2f}.\n\n"
        + markdown(["pairs of equal latency", "τ of one seed with another", "τ of a perfect score"], rows)
    )


def effects_of(trained: Trained) -> MainEffects | None:
    """Main effects on AP, in points; None without a design or with too few architectures."""
    return main_effects(trained.levels, trained.references, trained.ap) if trained.references else None


def score_effects(trained: Trained, names: Sequence[str]) -> dict[str, MainEffects]:
    """Main effects on scores, as if a standard deviation of the score at equal latency were one of AP."""
    bands, ap = np.array(trained.bands), trained.ap
    found = {}
    for name in names:
        values = trained.scores[name]
        known = ~np.isnan(ap) & ~np.isnan(values)
        scale = _spread(ap, bands, known) / _spread(values, bands, known)
        effects = main_effects(trained.levels, trained.references, np.where(known, values * scale, np.nan))
        if effects is not None:
            found[name] = effects
    return found


def _spread(values: np.ndarray, bands: np.ndarray, known: np.ndarray) -> float:
    """Standard deviation about the band's mean."""
    parts = [values[known & (bands == band)] for band in set(bands[known])]
    return float(np.sqrt((np.concatenate([part - part.mean() for part in parts]) ** 2).mean()))


def effects_table(trained: Trained, found: MainEffects) -> str:
    """The effect of every level on AP beside what scores make of it."""
    names = [name for name in HELD if name in trained.scores]
    held = score_effects(trained, names)
    by_score = {name: {(e.factor, e.level): e for e in of.effects} for name, of in held.items()}
    rows = []
    for effect in found.effects:
        ap = f"{effect.value:+.1f} ({effect.low:+.1f} to {effect.high:+.1f})"
        cells = [_cell(effect, of[effect.factor, effect.level]) for of in by_score.values()]
        ap = f"**{ap}**" if effect.is_clear else ap
        rows.append([effect.factor, f"{effect.reference} to {effect.level}", ap, *cells])
    chosen = [effect for effect in found.effects if effect.factor != BAND]
    agreement, signs = ["*correlation with AP's effects*", "", ""], ["*same sign where AP's is clear*", "", ""]
    clear = [effect for effect in chosen if effect.is_clear]
    for of in by_score.values():
        values = [of[effect.factor, effect.level].value for effect in chosen]
        agreement.append(f"{np.corrcoef([effect.value for effect in chosen], values)[0, 1]:.2f}")
        right = sum(of[effect.factor, effect.level].value * effect.value > 0 for effect in clear)
        signs.append(f"{right} of {len(clear)}")
    text = (
        "AP points (90 %) at equal latency when one factor changes and all others stay: every width is scaled so that "
        "the latency stays. **Bold**: the interval leaves zero out. Scores in AP points too, as if their spread at "
        "equal latency were AP's; *italic*: the sign is wrong where AP's is clear. What main effects leave scatters by "
        f"{found.remainder:.1f} points."
    )
    return text + "\n\n" + markdown(["factor", "from, to", "AP", *by_score], [*rows, agreement, signs])


def _cell(effect: Effect, of_score: Effect) -> str:
    wrong = effect.is_clear and effect.factor != BAND and of_score.value * effect.value < 0
    return f"*{of_score.value:+.1f}*" if wrong else f"{of_score.value:+.1f}"


def trainings(trained: Trained) -> str:
    """AP and costs of every architecture."""
    rows = []
    for record in trained.records:
        aps = [f"{100 * run['ap']:.1f}" if "ap" in run else "failed" for run in record["runs"]]
        seconds = [f"{run['seconds']:.0f}" for run in record["runs"] if "ap" in run]
        costs = record["costs"]
        levels = [level for factor, level in record.get("levels", {}).items() if factor != BAND]
        rows.append([
            record["name"], ", ".join(aps), f"{costs['latency_ms']:.2f}", f"{costs['flops'] / 1e6:.0f}",
            f"{costs['params'] / 1e3:.0f}", ", ".join(seconds), *([", ".join(levels)] if trained.references else []),
        ])  # fmt: skip
    header = ["architecture", "AP of each seed, %", "predicted ms", "MFLOPs", "parameters, thousand", "seconds"]
    factors = [factor for factor in trained.references if factor != BAND]
    return markdown([*header, *([", ".join(factors)] if factors else [])], rows)


def taus_png(trained: Trained) -> bytes:
    """A row a score: tau over all pairs with its interval, marks for pairs between and within spaces."""
    found = taus(trained)
    rows = [
        (name, of[OVERALL].value, of[OVERALL].low, of[OVERALL].high, {k: of[k].value for k in (BETWEEN, WITHIN)})
        for name, of in found.items()
    ]
    top = ceilings(trained.seeds, pair_masks(trained.bands, trained.families))[OVERALL]
    return rows_png(rows, "Kendall τ with trained AP at equal latency (dot: all pairs, bar: 90 %)", top)


def effects_png(trained: Trained, found: MainEffects) -> bytes:
    """A row a level: its effect on AP with the interval, marks for what scores make of it."""
    held = score_effects(trained, [name for name in HELD if name in trained.scores][:DRAWN])
    by_score = {name: {(e.factor, e.level): e.value for e in of.effects} for name, of in held.items()}
    rows = [
        (
            f"{effect.factor}: {effect.reference} to {effect.level}", effect.value, effect.low, effect.high,
            {name: of[effect.factor, effect.level] for name, of in by_score.items()},
        )
        for effect in found.effects
        if effect.factor != BAND
    ]  # fmt: skip
    label = "effect at equal latency, AP points (dot: trained AP, bar: 90 %, marks: scores)"
    return rows_png(rows, label, float("nan"))


def rows_png(rows: Sequence[tuple[str, float, float, float, Mapping[str, float]]], label: str, top: float) -> bytes:
    """A row a name with its value, interval and marks; a dashed line at ``top`` unless it is NaN."""
    figure = new_figure(7.6, 1.7 + 0.33 * len(rows))
    axes = figure.add_subplot()
    for row, (_, value, low, high, marks) in enumerate(rows):
        axes.plot((low, high), (row, row), color=FRONT, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(value, row, "o", color=FRONT, markersize=7, zorder=4)
        for place, (name, mark) in enumerate(marks.items(), start=1):
            axes.plot(
                mark, row, MARKERS[place % len(MARKERS)], color=COLOURS[place % len(COLOURS)], markersize=5,
                markeredgewidth=0, alpha=0.9, zorder=3, linestyle="none", label=name if row == 0 else None,
            )  # fmt: skip
    axes.axvline(0, color=BUDGET, linewidth=0.8)
    if not np.isnan(top):
        axes.axvline(top, color=BUDGET, linestyle="--", linewidth=1.1, label="perfect score, by the noise")
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], parse_math=False, color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.legend(fontsize=8, loc="best")
    return to_png(figure)


if __name__ == "__main__":
    main()
