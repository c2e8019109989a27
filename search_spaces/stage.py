"""One stage of a backbone, as an architecture lists it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """``depth`` blocks of one ``kind``; the first one has the ``stride``.

    ``out`` output channels, ``btn`` inner (bottleneck) channels, ``k`` kernel size.
    """

    kind: str
    out: int
    btn: int
    k: int = 3
    stride: int = 2
    depth: int = 1
