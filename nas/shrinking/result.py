"""The result of ``nas shrink``: the parent and its children, as JSON, table and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.study.recovery_result import RecoveryResult
from nas.budgets import LATENCY, quantity_of
from nas.shrinking.choice import Choice
from workbench.tables import Result, Table

FORMAT = "nas-shrink-1"


@dataclass(frozen=True)
class Child:
    """One child: its checkpoint, what was chosen in every round, and its training."""

    name: str
    file: Path
    choices: tuple[Choice, ...]
    recovery: RecoveryResult | None = None

    @property
    def costs(self) -> Mapping[str, float]:
        """Costs in base units."""
        return self.choices[-1].costs

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "checkpoint": str(self.file),
            "rounds": [choice.to_dict() for choice in self.choices],
            "recovery": None if self.recovery is None else self.recovery.to_dict(),
        }


@dataclass(frozen=True)
class ShrinkResult(Result):
    """The children of one parent, largest first. Prints as a table with certificates and verdicts."""

    folder: Path
    parent: str
    parent_costs: Mapping[str, float]
    children: tuple[Child, ...]
    licence: str
    """What the licences of the weights say about commercial use."""
    notes: tuple[str, ...] = ()

    @property
    def child(self) -> Child:
        """The child within the budgets: the smallest."""
        return self.children[-1]

    @property
    def best(self) -> Path:
        """Its checkpoint."""
        return self.child.file

    def to_table(self) -> Table:
        """Parent and children: latencies, sizes, importance kept, AP after training."""
        times = [name for name in self.parent_costs if quantity_of(name) == LATENCY]
        header = ["", *(f"ms {name.partition('@')[2]}".strip() for name in times), "GFLOPs", "Mparams", "MBact"]
        rows = [["parent", *self._sizes(self.parent_costs, times), 1.0, None]]
        for child in self.children:
            ap = None if child.recovery is None else child.recovery.ap
            rows.append([child.name, *self._sizes(child.costs, times), child.choices[-1].value, ap])
        return Table([*header, "importance kept", "AP"], rows)

    @staticmethod
    def _sizes(costs: Mapping[str, float], times: list[str]) -> list[float]:
        sizes = [costs["flops"] / 1e9, costs["params"] / 1e6, costs["act_bytes"] / 1e6]
        return [*(costs[name] for name in times), *sizes]

    def to_dict(self) -> dict[str, Any]:
        """What ``nas shrink --json`` prints."""
        return {
            "format": FORMAT, "folder": str(self.folder), "parent": self.parent,
            "parent_costs": dict(self.parent_costs), "children": [child.to_dict() for child in self.children],
            "best": str(self.best), "licence": self.licence, "notes": list(self.notes),
        }  # fmt: skip

    def __str__(self) -> str:
        """The table, certificates, verdicts, licence and files."""
        lines = [str(self.to_table()), ""]
        for child in self.children:
            lines += [f"{child.name}: {certificate_text(choice)}" for choice in child.choices]
            if child.recovery is not None:
                lines += [f"{child.name}: {child.recovery.verdict()}"]
        if self.children[0].recovery is None:
            lines.append("the children are cut but not trained: --data teaches them by their parent")
        lines += [self.licence, *(f"note: {note}" for note in self.notes)]
        files = [*(child.file.name for child in self.children), "shrink.json", "compare.html", "cuts as PNG"]
        return "\n".join([*lines, f"written to {self.folder}: {', '.join(files)}, TensorBoard events (nas board)"])


def certificate_text(choice: Choice) -> str:
    """What is proved of a choice, in one line."""
    verdict = "proved best" if choice.proved else "NOT proved best (time limit)"
    skipped = f", {len(choice.cuts.skipped)} blocks skipped" if choice.cuts.skipped else ""
    depths = "".join(f", {n} layers in {path}" for path, n in choice.cuts.depths.items())
    return (
        f"keeps {100 * choice.value:.2f} % of the importance{skipped}{depths}; {verdict}: bound "
        f"{100 * choice.bound:.2f} %, gap {100 * choice.gap:.3f} %, {choice.seconds:.1f} s"
    )
