"""Which few of many make the difference: a search by halves."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def minimal_subset(candidates: Sequence[str], enough: Callable[[Sequence[str]], bool], most_trials: int) -> tuple[str, ...]:
    """A smallest part of ``candidates``, in their order, for which ``enough`` holds: none of it can be left out.

    It must hold for all of them, not for none, and for every set that contains one for which it holds. k of n are found in about
    2 k log2(n / k) trials; when ``most_trials`` are used up, what was not cleared until then is in the answer too.
    """
    trials = 0

    def holds(kept: Sequence[str]) -> bool:
        nonlocal trials
        trials += 1
        return trials <= most_trials and enough(kept)

    def search(kept: list[str], grown: bool, rest: list[str]) -> list[str]:
        """What of ``rest`` is needed beside ``kept``; the two together are enough."""
        if grown and holds(kept):
            return []
        if len(rest) == 1:
            return rest
        middle = len(rest) // 2
        first, second = rest[:middle], rest[middle:]
        behind = search(kept + first, True, second)
        return search(kept + behind, bool(behind), first) + behind

    return tuple(search([], False, list(candidates))) if candidates else ()
