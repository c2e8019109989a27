"""A minimal subset of candidates for which a condition holds, by binary search."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def minimal_subset(
    candidates: Sequence[str], is_enough: Callable[[Sequence[str]], bool], max_trials: int
) -> tuple[str, ...]:
    """A subset of ``candidates``, in their order, for which ``is_enough`` holds and of which nothing can be left out.

    ``is_enough`` must hold for all candidates, not for none, and for every superset of a set for which it holds. k of n
    are found in about 2 k log2(n / k) trials. When ``max_trials`` are used up, the candidates not yet ruled out are in
    the result too.
    """
    trials = 0

    def holds(subset: Sequence[str]) -> bool:
        nonlocal trials
        trials += 1
        return trials <= max_trials and is_enough(subset)

    def search(fixed: list[str], grown: bool, rest: list[str]) -> list[str]:
        """What of ``rest`` is needed besides ``fixed``; the two together are enough."""
        if grown and holds(fixed):
            return []
        if len(rest) == 1:
            return rest
        middle = len(rest) // 2
        first, second = rest[:middle], rest[middle:]
        needed = search(fixed + first, True, second)
        return search(fixed + needed, bool(needed), first) + needed

    return tuple(search([], False, list(candidates))) if candidates else ()
