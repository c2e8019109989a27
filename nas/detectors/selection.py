"""Which entries of the atlas are meant: by family, source, recipe, input size, parameters and task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.budgets import PARAMS, Budget, parse_budget
from nas.detectors.atlas import Atlas, folded
from nas.detectors.entry import Entry
from nas.detectors.recipes import TRAITS
from workbench.errors import BadInput, unknown_name

NOT = "no-"
"""In front of a trait: only entries without it."""


@dataclass(frozen=True)
class Selection:
    """What is asked for; an empty field asks for nothing."""

    families: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Parts of the names of sources or of ``--data``."""
    traits: tuple[str, ...] = ()
    """Traits of the recipe, all of which must hold; ``no-teacher`` asks for its absence."""
    input_px: tuple[int, ...] = ()
    params: str | None = None
    """A range such as ``1..10M``."""
    task: str | None = None
    """The accuracy column, by its beginning."""

    def of(self, atlas: Atlas) -> Atlas:
        """The entries of an atlas that are meant and have an accuracy; a filter that nothing can pass is refused."""
        families = _families(atlas, self.families)
        sources = [text.lower() for text in self.sources]
        for text in sources:
            if not any(_from_source(entry, text) for entry in atlas.entries):
                raise BadInput(f"--source {text!r}: no entry is from it; sources: {_listed(short_sources(atlas))}")
        traits = [_trait(text) for text in self.traits]
        params = None if self.params is None else params_range(self.params)
        if self.task is not None and not any(entry.column.startswith(self.task) for entry in atlas.entries):
            raise unknown_name("task", self.task, sorted({entry.column for entry in atlas.entries}))

        def keep(entry: Entry) -> bool:
            return (
                entry.ap == entry.ap
                and (not families or entry.family in families)
                and (not sources or any(_from_source(entry, text) for text in sources))
                and all(TRAITS[name][0](entry.recipe) == holds for name, holds in traits)
                and (not self.input_px or entry.input_px in self.input_px)
                and (self.task is None or entry.column.startswith(self.task))
                and (params is None or params.low <= atlas.own_size(entry, PARAMS) <= params.high)
            )

        part = atlas.part(keep)
        if not part.entries:
            raise BadInput("no entry of the atlas passes all filters: leave one of them out")
        return part


def _families(atlas: Atlas, names: Sequence[str]) -> set[str]:
    known: dict[str, set[str]] = {}
    for entry in atlas.entries:
        known.setdefault(folded(entry.family), set()).add(entry.family)
    for name in names:
        if folded(name) not in known:
            raise unknown_name("family", name, sorted({entry.family for entry in atlas.entries}))
    return {family for name in names for family in known[folded(name)]}


def _trait(text: str) -> tuple[str, bool]:
    """A trait and whether it must hold."""
    name = text.removeprefix(NOT)
    if text in TRAITS:
        return text, True
    if name not in TRAITS:
        raise unknown_name("recipe trait", text, [*TRAITS, *(NOT + trait for trait in TRAITS)])
    return name, False


def params_range(text: str) -> Budget:
    """``1..10M`` (or ``10M``: at most) as a range of parameters."""
    rule = f"--params {text!r} must be a number or a range of parameters such as 10M or 1..10M"
    try:
        budget = parse_budget(text if text.endswith("params") else f"{text}params")
    except BadInput as error:
        raise BadInput(rule) from error
    if budget.quantity != PARAMS:
        raise BadInput(rule)
    return budget


def short_source(source: str) -> str:
    """Owner and name of a source's repository, or the beginning of another text."""
    repository = re.search(r"([\w.-]+/[\w.-]+)@", source)
    return repository.group(1) if repository else source.partition(" (")[0].partition(":")[0]


def short_sources(atlas: Atlas) -> list[str]:
    """The sources of all entries, each once."""
    return sorted({short_source(entry.source) for entry in atlas.entries if entry.source})


def _from_source(entry: Entry, text: str) -> bool:
    return text in entry.source.lower() or text in entry.data.lower()


def _listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
