"""What is published about every model of the zoo, with sources, beside what we measure on our own build of it.

One YAML file a family, beside its module. Published numbers are quotations; ``measured`` ones are ours: parameters and
FLOPs (two a multiply-accumulate) of the deploy form at the published input size, held by a test against the trace.
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
    """Other names of the model; dashes may be left out of all of them."""

    @property
    def t4_ms(self) -> float | None:
        """The first published latency on a T4."""
        return next((one.ms for one in self.latencies if "T4" in one.device), None)


@lru_cache(maxsize=1)
def load_cards() -> Mapping[str, Card]:
    """Every card by model name, family by family."""
    cards: dict[str, Card] = {}
    for file in sorted(resources.files("zoo.families").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            cards |= _read(yaml.safe_load(file.read_text(encoding="utf-8")), file.name)
    return MappingProxyType(cards)


def find_card(model: str) -> Card:
    """The card of one model, by its name or an alias, with or without dashes."""
    wanted = model.lower().replace("-", "")
    for name, card in load_cards().items():
        if any(wanted == known.replace("-", "") for known in (name, *card.aliases)):
            return card
    raise unknown_name("model of the zoo", model, load_cards())


def _read(data: Mapping[str, Any], where: str) -> dict[str, Card]:
    """Cards of one family's file."""
    try:
        return {
            name: Card(
                model=name, family=str(data["family"]), code_licence=str(data["code_licence"]), weights_licence=str(data["weights_licence"]),
                latencies=tuple(read_fields(Latency, one, f"{where}: {name}") for one in model.pop("latencies", ())),
                aliases=tuple(model.pop("aliases", ())), **model,
            )
            for name, model in data["models"].items()
        }  # fmt: skip
    except (KeyError, TypeError) as error:
        raise BadInput(f"card {where}: {error}") from error
