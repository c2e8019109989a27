"""Class names of things that a mirror changes: digits, letters, and signs with a direction."""

from __future__ import annotations

import re
from collections.abc import Sequence

LEAST_SHARE = 0.5
"""Share of the classes that must be single digits or letters; two words for a direction are enough by themselves."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIRECTIONS = ("left", "right")
WRITING = ("digit", "letter", "character", "text", "number", "sign", "plate", "word")


def mirrored_classes(names: Sequence[str]) -> list[str]:
    """The classes that a mirrored image shows wrong, if the names tell so; few of many characters tell nothing."""
    words = {name: set(re.findall(r"[a-z]+", name.lower())) for name in names}
    named = [name for name in names if words[name] & {*WRITING, *(f"{word}s" for word in WRITING), *DIRECTIONS}]
    single = [name for name in names if len(name.strip()) == 1 or name.strip().lower() in DIGITS]
    return named + (single if len(single) >= LEAST_SHARE * len(names) else [])
