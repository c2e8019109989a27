"""Fronts against a plain definition, and the sentences about them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nas.comparison.comparison import Comparison
from nas.comparison.fronts import ap_to_beat, pareto_front
from nas.comparison.rows import (
    PREDICTED,
    PUBLISHED,
    SEARCHED,
    ZOO,
    Accuracy,
    Axis,
    ComparisonRow,
    Reading,
    Series,
    TrainingBudget,
)

T4 = Axis("t4", PREDICTED, "t4", "ms")
COCO = Series(PUBLISHED, "published AP on COCO")


def row(
    name: str,
    ms: float,
    ap: float | None,
    half: float = 0.0,
    series: str = PUBLISHED,
    budget: TrainingBudget | None = None,
) -> ComparisonRow:
    """One network at ``ms`` milliseconds, its interval ``half`` a share to both sides."""
    reading = Reading(ms, ms * (1 - half), ms * (1 + half)) if half else Reading(ms)
    accuracy = None if ap is None else Accuracy(ap, series, "source", budget=budget)
    return ComparisonRow(
        name,
        ZOO if ap is not None else SEARCHED,
        "family",
        640,
        1,
        1,
        "needed",
        "Apache-2.0",
        {"t4": reading},
        accuracy,
    )


def sentences(*rows: ComparisonRow, series: tuple[Series, ...] = (COCO,)) -> str:
    return "\n".join(Comparison(rows, (T4,), series).sentences())


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=9))
def test_a_front_is_who_nobody_beats(points: list[tuple[int, int]]) -> None:
    rows = [row(f"n{i}", float(ms), float(ap)) for i, (ms, ap) in enumerate(points)]
    front = pareto_front(rows, "t4", PUBLISHED)
    for name, (ms, ap) in zip([r.name for r in rows], points, strict=True):
        beaten = any(m <= ms and a >= ap and (m, a) != (ms, ap) for m, a in points)
        assert (name in front.members) is not beaten
    assert front.of == len(points)
    times = [float(dict(zip([r.name for r in rows], points, strict=True))[name][0]) for name in front.members]
    assert times == sorted(times)


def test_intervals_keep_a_close_rival_in_play_and_no_far_one() -> None:
    rows = [row("fast", 2.0, 50.0, 0.1), row("close", 2.1, 49.0, 0.1), row("far", 4.0, 49.0, 0.1)]
    front = pareto_front(rows, "t4", PUBLISHED)
    assert (front.members, front.open) == (("fast",), ("close",))


def test_what_a_candidate_must_beat() -> None:
    rows = [row("a", 1.0, 40.0), row("b", 2.0, 45.0), row("late", 9.0, 60.0)]
    needed = ap_to_beat(row("mine", 3.0, None), rows, "t4", PUBLISHED)
    assert needed is not None and (needed.ap, needed.holder, needed.holder_value) == (45.0, "b", 2.0)
    first = ap_to_beat(row("mine", 0.5, None), rows, "t4", PUBLISHED)
    assert first is not None and first.ap is None
    text = sentences(*rows, row("mine", 3.0, None))
    assert (
        "mine has no AP yet and cannot be placed. To be on the front of published AP on COCO, "
        "at 3.00 ms on t4 it must beat 45.0 (b, 2.00 ms)."
        in text
    )
    assert "a, b and late are on the front of 3 networks" in text
    assert "nothing with an AP is as fast" in sentences(*rows, row("mine", 0.5, None))


def test_series_have_a_front_each_and_one_network_makes_none() -> None:
    mine = TrainingBudget("boxes", "d", "v", 12, {"name": "small", "lr": 0.1}, 96, 0)
    own = Series("own-v", "own AP on boxes")
    text = sentences(
        row("a", 1.0, 40.0),
        row("b", 2.0, 45.0),
        row("mine", 0.5, 80.0, series="own-v", budget=mine),
        series=(COCO, own),
    )
    assert "a and b are on the front of 2 networks" in text
    assert "mine is the only one with own AP on boxes: a front of one says nothing" in text
    assert "are never compared" in text


def test_budgets_are_compared_to_the_last_setting() -> None:
    import dataclasses

    own = Series("own-v", "own AP on boxes")
    budget_12 = TrainingBudget("boxes", "d" * 64, "v", 12, {"name": "small", "lr": 0.1}, 96, 0)

    def text(other: TrainingBudget) -> str:
        return sentences(
            row("p", 1.0, 10.0, series="own-v", budget=budget_12),
            row("q", 2.0, 20.0, series="own-v", budget=other),
            series=(own,),
        )

    assert "had the same data and the same budget: 12 epochs of recipe small on boxes at 96 px" in text(
        dataclasses.replace(budget_12, seed=3)
    )
    for change, words in (
        ({"epochs": 30}, "epochs: 12 (p), 30 (q)"),
        ({"data_sha256": "e" * 64}, "training data: boxes dddddddd (p), boxes eeeeeeee (q)"),
        ({"recipe": {"name": "small", "lr": 0.2}}, "recipe's lr: 0.1 (p), 0.2 (q)"),
        ({"teacher": "yolo11m"}, "teacher: none (p), yolo11m (q)"),
        ({"finished": False}, "still training (q)"), ({"input_px": 640}, "input side in px: 96 (p), 640 (q)"),
    ):  # fmt: skip
        sentence = text(dataclasses.replace(budget_12, **change))
        assert "did not have the same budget" in sentence and words in sentence


def test_without_any_ap_there_is_no_front() -> None:
    assert "No row has an AP, so there is no front." in sentences(row("mine", 3.0, None), series=())
