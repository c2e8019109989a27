"""Numbers and lists as sentences want them, and what sets the budgets of our own APs apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distill.train.recipe import TrainRecipe
from nas.comparison.rows import ComparisonRow, Reading, Series, TrainingBudget

MOST_SETTINGS = 6
"""So many settings of two recipes that differ are named."""


def number(value: float | None) -> str:
    """Three significant digits and thousands grouped; a dash for none."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    digits = 0
    while digits < 6 and abs(value) < 100 / 10**digits:
        digits += 1
    return f"{value:,.{digits}f}"


def span(reading: Reading) -> str:
    """``2.99–3.94``, or nothing where there is no interval."""
    return "" if reading.low is None or reading.high is None else f"{number(reading.low)}–{number(reading.high)}"


def listed(names: Sequence[str], most: int) -> str:
    """``a, b and c``; beyond ``most`` names, the first ones and how many more."""
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def differences(rows: Sequence[ComparisonRow], series: Series) -> list[str]:
    """One sentence: the same data and budget for all, or what differs and for whom."""
    budgets = [(row.name, row.accuracy.budget) for row in rows if row.accuracy and row.accuracy.budget]
    first = budgets[0][1]
    usual = TrainRecipe().to_dict()  # what a recipe of an older version leaves out
    settings = sorted({key for _, b in budgets for key in b.recipe} - {"name", "source", "epochs"})
    questions: list[tuple[str, Callable[[TrainingBudget], object]]] = [
        ("training data", lambda b: f"{b.data} {b.data_sha256[:8]}"), ("epochs", lambda b: b.epochs), ("input side in px", lambda b: b.input_px),
        ("teacher", lambda b: b.teacher or "none"), ("start", lambda b: b.started_from), ("state", lambda b: "finished" if b.finished else "still training"),
    ]  # fmt: skip
    apart = [(what, [(name, ask(b)) for name, b in budgets]) for what, ask in questions]
    apart += [(f"recipe's {key}", [(name, b.recipe.get(key, usual.get(key))) for name, b in budgets]) for key in settings]
    unlike = [(what, answers) for what, answers in apart if len({repr(answer) for _, answer in answers}) > 1]
    if len(budgets) == 1:
        return [f"{budgets[0][0]} alone has {series.label}: {_budget(first)}."]
    if not unlike:
        return [f"All {len(budgets)} networks with {series.label} had the same data and the same budget: {_budget(first)}."]
    told = [f"{what}: {_grouped(answers)}" for what, answers in unlike[:MOST_SETTINGS]]
    more = f"; and {len(unlike) - MOST_SETTINGS} settings more" if len(unlike) > MOST_SETTINGS else ""
    return [f"The {len(budgets)} networks with {series.label} did not have the same budget, so their APs do not compare networks alone. They differ in {'; '.join(told)}{more}."]


def _budget(budget: TrainingBudget) -> str:
    epochs = "an unknown number of epochs" if budget.epochs is None else f"{budget.epochs} epoch{'' if budget.epochs == 1 else 's'}"
    taught = f", taught by {budget.teacher}" if budget.teacher else ""
    return f"{epochs} of recipe {budget.recipe.get('name', 'unknown')} on {budget.data} at {budget.input_px} px, from {budget.started_from}{taught}"


def _grouped(answers: Sequence[tuple[str, object]]) -> str:
    """``8 (a, b), 12 (c)``."""
    groups: dict[str, list[str]] = {}
    for name, answer in answers:
        groups.setdefault(str(answer), []).append(name)
    return ", ".join(f"{answer} ({listed(names, 4)})" for answer, names in groups.items())
