"""What a detector took over from another one, as figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = 3
"""Layers of a part, or blocks, that the text names."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """The result of ``zoo.weights.inherit.inherit``. Numbers are those of parameters; buffers are not counted."""

    model: str
    """Model of the source."""
    taken: int
    """Numbers of the target that come from the source, those of doubled channels included."""
    parameters: int
    """Numbers of the target."""
    used: int
    """Numbers of the source that are in the target."""
    source_parameters: int
    """Numbers of the source."""
    random: Mapping[str, Mapping[str, int]]
    """Part (backbone, neck, head) to the layers that have numbers from nowhere in the source, with how many: random
    ones, and zeros that add nothing."""
    identity: tuple[str, ...]
    """Residual blocks that the source does not have and that start as the identity."""
    differing: tuple[str, ...]
    """Tensors where the networks tie their channels differently, so that the function is not preserved."""
    classes: int
    """Classes of the target that the source knows by the same name."""
    all_classes: int
    """Classes of the target."""
    output_change: float | None
    """Relative distance of the outputs on fixed images: 0 where the function is the same; None if not comparable."""
    outputs: str
    """Which outputs were compared."""

    @property
    def share(self) -> float:
        """Share of the target's parameters that are taken over, 0 to 1."""
        return self.taken / self.parameters

    @property
    def used_share(self) -> float:
        """Share of the source's parameters that are used, 0 to 1."""
        return self.used / self.source_parameters

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "model": self.model,
            "taken": self.taken, "parameters": self.parameters, "share": round(self.share, 6),
            "used": self.used, "source_parameters": self.source_parameters, "used_share": round(self.used_share, 6),
            "random": {part: dict(layers) for part, layers in self.random.items()},
            "identity": list(self.identity),
            "differing": list(self.differing),
            "classes": self.classes, "all_classes": self.all_classes,
            "output_change": None if self.output_change is None else float(f"{self.output_change:.3g}"),
            "outputs": self.outputs,
        }  # fmt: skip

    def __str__(self) -> str:
        change = (
            f"outputs cannot be compared ({self.outputs})" if self.output_change is None
            else f"{self.outputs} change by {100 * self.output_change:.3g} %"
        )  # fmt: skip
        lines = [
            f"inherited from {self.model}: {100 * self.share:.1f} % of {self.parameters:,} parameters, "
            f"{100 * self.used_share:.1f} % of the source's are used; {change}"
        ]
        left = {part: layers for part, layers in self.random.items() if layers}
        new = [f"{part} {sum(layers.values()):,} ({_first(list(layers))})" for part, layers in left.items()]
        if self.classes < self.all_classes:
            new.append(f"{self.all_classes - self.classes} of {self.all_classes} classes are new")
        if self.identity:
            new.append(f"blocks that start as the identity: {_first(self.identity)}")
        if self.differing:
            new.append(f"channels tied differently in {_first(self.differing)}")
        return "\n".join([*lines, *(["not inherited: " + "; ".join(new)] if new else [])])


def _first(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
