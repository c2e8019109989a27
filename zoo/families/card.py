"""Published facts about every model of the zoo, with sources, beside what we measure on our own build of it.

One YAML file a family, beside its module. Published numbers are quotations; ``measured_*`` ones are ours: parameters
and FLOPs (two per multiply-accumulate) of the deploy form at the published input size. A test compares them with the
trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from search_spaces.architecture import read_fields
from workbench.errors import BadInput, unknown_name
from zoo.families import FAMILIES


@dataclass(frozen=True, slots=True)
class Latency:
    """One published latency of one image, in milliseconds."""

    ms: float
    device: str
    runtime: str
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One model: AP on COCO val in percent, parameters in millions, GFLOPs, input side in pixels."""

    model: str
    family: str
    input_px: int
    ap: float
    params_m: float
    gflops: float
    source: str
    note: str
    latencies: tuple[Latency, ...]
    code_licence: str
    weights_licence: str
    measured_params: int
    measured_flops: int
    aliases: tuple[str, ...] = ()
    """Other names of the model; dashes are optional in all of them."""
    authors: str = ""
    """Authors of the code and the weights, where the repository's name does not say it."""
    licence_note: str = ""
    """What the authors offer besides the licence of the weights."""

    @property
    def t4_ms(self) -> float | None:
        """The first published latency on a T4."""
        return next((latency.ms for latency in self.latencies if "T4" in latency.device), None)

    @property
    def repository(self) -> str:
        """The official repository, ``owner/name``."""
        return self.code_licence.partition("(")[2].rstrip(")")


def load_cards() -> Mapping[str, Card]:
    """Every card by model name, the families in alphabetical order."""
    return _load(tuple(sorted(FAMILIES.values())))


@lru_cache(maxsize=4)
def _load(modules: tuple[str, ...]) -> Mapping[str, Card]:
    cards: dict[str, Card] = {}
    for module in modules:
        package, _, stem = module.rpartition(".")
        text = resources.files(package).joinpath(f"{stem}.yaml").read_text(encoding="utf-8")
        cards |= _read(yaml.safe_load(text), f"{stem}.yaml")
    return MappingProxyType(cards)


def find_card(model: str) -> Card:
    """The card of one model, by its name or an alias, with or without dashes."""
    wanted = model.lower().replace("-", "")
    for name, card in load_cards().items():
        if any(wanted == known.replace("-", "") for known in (name, *card.aliases)):
            return card
    raise unknown_name("model of the zoo", model, load_cards())


def weights_licence(family: str) -> str:
    """SPDX identifier of the licence under which a family's official weights are published."""
    return next(card.weights_licence for card in load_cards().values() if card.family == family)


def _read(data: Mapping[str, Any], where: str) -> dict[str, Card]:
    """The cards of one family's file."""
    try:
        shared: dict[str, Any] = {name: str(data[name]) for name in ("family", "code_licence", "weights_licence")}
        shared |= {name: str(data.get(name, "")) for name in ("authors", "licence_note")}
        cards = {}
        for name, model in data["models"].items():
            latencies = model.pop("latencies", ())
            aliases = tuple(model.pop("aliases", ()))
            read = tuple(read_fields(Latency, latency, f"{where}: {name}") for latency in latencies)
            cards[name] = Card(model=name, latencies=read, aliases=aliases, **shared, **model)
    except (KeyError, TypeError) as error:
        raise BadInput(f"card {where}: {error}") from error
    return cards
