"""Whether a teacher helps: Student's interval by hand, and how often the early warning is wrong and right."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from distill.study.gain import MIN_HARM, Curve, Gain, first_harmful_epoch, harm_test_epochs, lag_lower_bound, paired
from workbench.errors import BadInput

EPOCHS = 20
FINAL, BETWEEN, WITHIN = 0.3, 0.01, 0.003
"""AP of a simulated run, its spread between seeds, and between evaluations of one run."""


def curve(random: np.random.Generator, lag: float = 0.0) -> Curve:
    """A run whose AP rises to ``FINAL`` less ``lag``, with noise that belongs to its seed and noise that does not."""
    own = random.normal(0, BETWEEN)
    return {
        e: float((FINAL - lag) * (1 - math.exp(-e / 6)) + own * e / EPOCHS + random.normal(0, WITHIN))
        for e in range(1, EPOCHS + 1)
    }


def called(random: np.random.Generator, seeds: int, lag: float) -> bool:
    """Whether harm is called of a teacher that costs ``lag``, the taught runs one after another."""
    control = [curve(random) for _ in range(seeds)]
    taught: list[Curve] = []
    for _ in range(seeds):
        taught.append(curve(random, lag))
        if first_harmful_epoch(control, taught, EPOCHS) is not None:
            return True
    return False


def test_the_interval_is_students() -> None:
    """Three differences of 1, 2 and 3 %: mean 2, deviation 1, t(0.975, 2) = 4.303, so 2 -+ 4.303 / sqrt(3)."""
    gain = Gain((0.01, 0.02, 0.03))
    assert gain.mean == pytest.approx(0.02)
    assert gain.interval == pytest.approx((0.02 - 0.0430265 / math.sqrt(3), 0.02 + 0.0430265 / math.sqrt(3)), abs=1e-6)
    assert gain.verdict == "open"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((0.02, 0.021, 0.022), "helps"), ((-0.02, -0.021, -0.022), "harms"), ((-0.02, 0.02), "open")],
)
def test_the_verdict_is_that_of_the_interval(differences: tuple[float, ...], verdict: str) -> None:
    assert Gain(differences).verdict == verdict


def test_one_seed_has_no_interval() -> None:
    gain = paired({4: 0.1}, {4: 0.2})
    assert gain.interval is None and gain.verdict == "open" and gain.mean == pytest.approx(0.1)


def test_seeds_are_paired_and_lone_ones_do_not_count() -> None:
    assert paired({0: 0.1, 1: 0.2, 2: 0.9}, {1: 0.25, 0: 0.1}).differences == pytest.approx((0.0, 0.05))
    with pytest.raises(BadInput, match="no seed"):
        paired({0: 0.1}, {1: 0.2})
    with pytest.raises(BadInput, match="finite"):
        Gain((math.nan,))


def test_behind_is_two_samples_with_one_variance() -> None:
    """0.3 and 0.32 against 0.2: lag 0.11, pooled deviation sqrt(0.0002 / 1), t(0.975, 1) = 12.706."""
    assert lag_lower_bound([0.3, 0.32], [0.2]) == pytest.approx(0.11 - 12.7062 * math.sqrt(0.0002 * 1.5), abs=1e-5)
    assert lag_lower_bound([0.3], [0.2]) is None and lag_lower_bound([], [0.2, 0.1]) is None


def test_looks_leave_out_the_first_third() -> None:
    assert harm_test_epochs(range(1, 10), 9) == [4, 5, 6, 7, 8, 9]


def test_a_plain_harm_is_called_in_the_first_taught_run() -> None:
    random = np.random.default_rng(0)
    at = first_harmful_epoch([curve(random) for _ in range(3)], [curve(random, 0.15)], EPOCHS)
    assert at is not None and at <= EPOCHS / 2


def test_less_than_the_least_is_nothing_to_stop_for() -> None:
    flat = {e: 0.3 for e in range(1, EPOCHS + 1)}
    lagging = [{e: ap - share * MIN_HARM for e, ap in flat.items()} for share in (0.9, 1.1)]
    assert first_harmful_epoch([flat, flat, flat], lagging[:1], EPOCHS) is None
    assert first_harmful_epoch([flat, flat, flat], lagging[1:], EPOCHS) is not None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_harmless_teacher_is_seldom_accused(seeds: int) -> None:
    random = np.random.default_rng(1)
    assert np.mean([called(random, seeds, 0.0) for _ in range(200)]) <= 0.1


def test_a_harmful_teacher_is_mostly_found() -> None:
    random = np.random.default_rng(2)
    assert np.mean([called(random, 3, 3 * BETWEEN) for _ in range(100)]) >= 0.9


def test_one_control_accuses_nobody() -> None:
    random = np.random.default_rng(3)
    assert first_harmful_epoch([curve(random)], [curve(random, 0.2)], EPOCHS) is None
