"""Cuts: what is removed from a network, as plain data that a checkpoint's header holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import BadInput

MAX_CUT_LAYERS = 20_000
MAX_CHANNEL = 65_535
"""Greatest number of a channel in a file."""
MAX_CHANNELS = 4_000_000
"""Most channels of all layers together in a file: ranges are short texts that stand for many numbers."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Channels, blocks and layers of the uncut network that stay or go. Paths are those of the modules."""

    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Layer path to the output channels that stay, ascending. It is the layer that comes first in its channel group;
    groups that stay whole are left out."""
    skipped: tuple[str, ...] = ()
    """Paths of the residual blocks that are removed, ascending."""
    depths: Mapping[str, int] = field(default_factory=dict)
    """Path of a stack of layers, such as a decoder, to how many of its first layers stay."""

    def __bool__(self) -> bool:
        return bool(self.channels or self.skipped or self.depths)

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.channels.items())), self.skipped, tuple(sorted(self.depths.items()))))

    def then(self, later: Cuts) -> Cuts:
        """These cuts and, in the network that they leave, ``later``: both as cuts of the uncut network."""
        channels = dict(self.channels)
        for path, kept in later.channels.items():
            before = self.channels.get(path)
            channels[path] = kept if before is None else tuple(before[i] for i in kept)
        skipped = tuple(sorted({*self.skipped, *later.skipped}))
        depths = {**self.depths, **later.depths}
        gone = tuple(f"{path}." for path in skipped)
        channels = {path: kept for path, kept in channels.items() if not path.startswith(gone)} if gone else channels
        return Cuts(dict(sorted(channels.items())), skipped, dict(sorted(depths.items())))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; ``from_dict`` reads it back. Channels are ranges such as ``"0-7,9,12-15"``."""
        return {
            "channels": {path: format_ranges(kept) for path, kept in sorted(self.channels.items())},
            "skipped": list(self.skipped),
            "depths": dict(sorted(self.depths.items())),
        }

    @staticmethod
    def from_dict(data: Any) -> Cuts:
        """Check plain data; a wrong field raises ``BadInput`` with its name and the rule."""
        if not isinstance(data, dict) or not data.keys() <= {"channels", "skipped", "depths"}:
            raise BadInput("cuts must be a table with channels, skipped and depths")
        channels, skipped, depths = data.get("channels", {}), data.get("skipped", []), data.get("depths", {})
        if not isinstance(channels, dict) or len(channels) > MAX_CUT_LAYERS:
            raise BadInput(f"cuts: channels must be a table of at most {MAX_CUT_LAYERS} layers")
        if not isinstance(skipped, list) or not all(isinstance(path, str) for path in skipped):
            raise BadInput("cuts: skipped must be a list of block paths")
        if not isinstance(depths, dict) or not all(type(n) is int and 1 <= n <= 1000 for n in depths.values()):
            raise BadInput("cuts: depths must map stacks of layers to whole numbers from 1 to 1000")
        kept: dict[str, tuple[int, ...]] = {}
        total = 0
        for path, text in channels.items():
            kept[str(path)] = parse_ranges(text, str(path))
            total += len(kept[str(path)])
            if total > MAX_CHANNELS:
                raise BadInput(f"cuts: more than {MAX_CHANNELS:,} channels")
        return Cuts(
            kept,
            tuple(sorted(set(skipped))),
            {str(path): n for path, n in depths.items()},
        )


def format_ranges(numbers: tuple[int, ...]) -> str:
    """Ascending whole numbers as ranges: ``(0, 1, 2, 5)`` is ``"0-2,5"``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_ranges(text: Any, path: str) -> tuple[int, ...]:
    """The inverse of ``format_ranges``; ``path`` is named in errors."""
    rule = f"cuts: channels of {path[:80]!r} must be ascending ranges such as '0-7,9'"
    if not isinstance(text, str) or not text:
        raise BadInput(rule)
    numbers: list[int] = []
    for part in text.split(","):
        ends = part.split("-")
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() and len(end) < 8 for end in ends):
            raise BadInput(rule)
        first, last = int(ends[0]), int(ends[-1])
        if last < first or last > MAX_CHANNEL or (numbers and first <= numbers[-1]):
            raise BadInput(rule)
        numbers.extend(range(first, last + 1))
    return tuple(numbers)
