"""A comparison in sentences: which networks are on each front, what the others need, and how trainings differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distill.train.recipe import TrainRecipe
from nas.comparison.formatting import listed, number
from nas.comparison.fronts import Front, ap_to_beat, pareto_front
from nas.comparison.rows import COST, MEASURED, Axis, ComparisonRow, Series, TrainingBudget, rows_of_series

MAX_UNSURE = 8
"""Names of rows that might be on a front that are listed; those that are on it are all listed."""
MAX_SETTINGS = 6
"""Settings in which two recipes differ that are listed."""


def front_sentences(rows: Sequence[ComparisonRow], axes: Sequence[Axis], series: Sequence[Series]) -> list[str]:
    """Which networks are on each latency front, and what candidates without AP would need."""
    times = [axis for axis in axes if axis.kind != COST]
    sentences = [_unplaced(row, rows, times, series) for row in rows if row.accuracy is None]
    for axis in times:
        for one in series:
            front = pareto_front(rows, axis.key, one.key)
            if front.of:
                sentences.append(_members(front, axis, one))
    sentences += _cut(rows)
    for one in series:
        trained = [row for row in rows_of_series(rows, one.key) if row.accuracy and row.accuracy.budget]
        if trained:
            sentences.append(budget_sentence(trained, one))
    if len(series) > 1:
        sentences.append(
            "APs of different series were evaluated on different images and are never compared: "
            "each series has its own front."
        )
    if not series:
        sentences.append("No row has an AP, so there is no front.")
    return sentences


def _cut(rows: Sequence[ComparisonRow]) -> list[str]:
    """Which rows are cut from which."""
    children: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.origin is not None:
            children.setdefault((row.origin.parent, "" if row.origin.parent else row.origin.model), []).append(row.name)
    sentences = []
    for (parent, model), names in children.items():
        verb = "is" if len(names) == 1 else "are"
        source = parent or f"a detector {model} that is not among the rows"
        sentences.append(f"{listed(names, len(names))} {verb} cut from {source}.")
    return sentences


def _members(front: Front, axis: Axis, series: Series) -> str:
    where = f"Measured on {axis.label}" if axis.kind == MEASURED else f"Predicted on {axis.label}"
    if front.of == 1:
        return f"{where}, {front.members[0]} is the only one with {series.label}: a front of one says nothing."
    verb = "is" if len(front.members) == 1 else "are"
    names = listed(front.members, front.of)
    text = f"{where}, by {series.label}: {names} {verb} on the front of {front.of} networks."
    if front.open:
        text += f" Within the intervals {listed(front.open, MAX_UNSURE)} might be on it too."
    return text


def _unplaced(
    row: ComparisonRow, rows: Sequence[ComparisonRow], times: Sequence[Axis], series: Sequence[Series]
) -> str:
    """What a row without AP would need to be on the front of the first series, along every axis of latency."""
    needs = []
    for axis in times if series else ():
        needed = ap_to_beat(row, rows, axis.key, series[0].key)
        if needed is None:
            continue
        at = f"at {number(needed.value)} {axis.unit} on {axis.label}"
        if needed.ap is None:
            needs.append(f"{at} nothing with an AP is as fast")
        else:
            holder = f"{needed.holder}, {number(needed.holder_value)} {axis.unit}"
            needs.append(f"{at} it must beat {needed.ap:.1f} ({holder})")
    rule = f" To be on the front of {series[0].label}, {'; '.join(needs)}." if needs else ""
    return f"{row.name} has no AP yet and cannot be placed.{rule}"


def budget_sentence(rows: Sequence[ComparisonRow], series: Series) -> str:
    """That all rows had the same data and budget, or what differs and for which rows."""
    budgets = [(row.name, row.accuracy.budget) for row in rows if row.accuracy and row.accuracy.budget]
    first = budgets[0][1]
    if len(budgets) == 1:
        return f"{budgets[0][0]} alone has {series.label}: {_budget(first)}."
    differing = _differing(budgets)
    if not differing:
        same = "had the same data and the same budget"
        return f"All {len(budgets)} networks with {series.label} {same}: {_budget(first)}."
    shown = [f"{title}: {_grouped(answers)}" for title, answers in differing[:MAX_SETTINGS]]
    more = f"; and {len(differing) - MAX_SETTINGS} settings more" if len(differing) > MAX_SETTINGS else ""
    return (
        f"The {len(budgets)} networks with {series.label} did not have the same budget, so their APs do not compare "
        f"networks alone. They differ in {'; '.join(shown)}{more}."
    )


def _differing(budgets: Sequence[tuple[str, TrainingBudget]]) -> list[tuple[str, list[tuple[str, object]]]]:
    """Title and value per row of everything in which budgets differ."""
    defaults = TrainRecipe().to_dict()  # for what a recipe of an older version lacks
    settings = sorted({key for _, budget in budgets for key in budget.recipe} - {"name", "source", "epochs"})
    questions: list[tuple[str, Callable[[TrainingBudget], object]]] = [
        ("training data", lambda b: f"{b.data} {b.data_sha256[:8]}"),
        ("epochs", lambda b: b.epochs),
        ("input side in px", lambda b: b.input_px),
        ("teacher", lambda b: b.teacher or "none"),
        ("start", lambda b: b.started_from),
        ("state", lambda b: "finished" if b.finished else "still training"),
    ]
    values = [(title, [(name, ask(budget)) for name, budget in budgets]) for title, ask in questions]
    values += [
        (f"recipe's {key}", [(name, budget.recipe.get(key, defaults.get(key))) for name, budget in budgets])
        for key in settings
    ]
    return [(title, answers) for title, answers in values if len({repr(answer) for _, answer in answers}) > 1]


def _budget(budget: TrainingBudget) -> str:
    epochs = "an unknown number of epochs"
    if budget.epochs is not None:
        epochs = f"{budget.epochs} epoch{'' if budget.epochs == 1 else 's'}"
    teacher = f", with teacher {budget.teacher}" if budget.teacher else ""
    recipe = budget.recipe.get("name", "unknown")
    where = f"on {budget.data} at {budget.input_px} px, from {budget.started_from}"
    return f"{epochs} of recipe {recipe} {where}{teacher}"


def _grouped(answers: Sequence[tuple[str, object]]) -> str:
    """``8 (a, b), 12 (c)``."""
    groups: dict[str, list[str]] = {}
    for name, answer in answers:
        groups.setdefault(str(answer), []).append(name)
    return ", ".join(f"{answer} ({listed(names, 4)})" for answer, names in groups.items())
