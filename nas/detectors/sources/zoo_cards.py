"""The zoo's detectors with what their cards quote: AP, sizes, latencies and the licence of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nas.detectors.atlas import Atlas
from nas.detectors.entry import Entry, LatencyFact
from nas.detectors.marks import compared_size
from nas.detectors.recipes import parse_recipe
from search_spaces.ops import DECODE_PART
from workbench.console import Progress
from workbench.errors import missing_package

if TYPE_CHECKING:
    from search_spaces.graph import Graph
    from zoo.families.card import Card

ZOO = "zoo"
TARGET = "coco_val_map50_95"
DEVICE = "t4_trt_fp16_ms"
RECIPES = {
    "damo-yolo": "scratch 300e; backbone found by NAS",
    "rtdetrv2": "ImageNet backbone 72e-120e",
    "yolo11": "scratch 500e",
    "yolo26": "not stated; AP with NMS head",
    "yolov7": "scratch 300e",
    "yolox": "scratch 300e",
}
"""Recipe tag by family, as the official repositories state it. A family without one counts as not stated."""


class TracedGraphs(Mapping[str, "Graph"]):
    """The deploy form of the zoo's detectors without box decoding, by name; each is traced on first use."""

    def __init__(self, cards: Mapping[str, Card], progress: Progress | None = None) -> None:
        self.cards, self.progress = cards, progress
        self._traced: dict[str, Graph] = {}

    def __len__(self) -> int:
        return len(self.cards)

    def __iter__(self) -> Iterator[str]:
        return iter(self.cards)

    def __contains__(self, name: object) -> bool:
        return name in self.cards

    def __getitem__(self, name: str) -> Graph:
        if name not in self._traced:
            self._traced[name] = self._trace(self.cards[name])
            if self.progress is not None:
                count = len(self._traced)
                text = f"{count} of {len(self)} detectors traced: {name}"
                self.progress.show(text, force=count == len(self))
        return self._traced[name]

    def _trace(self, card: Card) -> Graph:
        try:
            import torch  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package("the zoo's detectors", error.name, "torch") from error
        from zoo.resolve import resolve_model

        whole = resolve_model(card.model).graph("detector", card.input_px)
        graph = whole.without_part(DECODE_PART) if any(op.part == DECODE_PART for op in whole) else whole
        graph.name = card.model
        return graph


def read_zoo(progress: Progress | None = None) -> Atlas:
    """Every model of the zoo at its published input size. Only graphs need torch."""
    from zoo.families.card import load_cards

    cards = load_cards()
    return Atlas(
        entries=tuple(_entry(card) for card in cards.values()),
        graphs=TracedGraphs(cards, progress),
        points={(card.model, card.input_px): {TARGET: card.ap / 100} for card in cards.values()},
        latency={
            (card.model, card.input_px): {DEVICE: math.nan if card.t4_ms is None else card.t4_ms}
            for card in cards.values()
        },
        accuracy_columns=(TARGET,),
        latency_columns=(DEVICE,),
        data=(ZOO,),
        _sizes={
            (card.model, card.input_px): {"params": float(card.measured_params), "flops": float(card.measured_flops)}
            for card in cards.values()
        },
    )


def _entry(card: Card) -> Entry:
    return Entry(
        name=card.model,
        model=card.model,
        family=card.family,
        input_px=card.input_px,
        column=TARGET,
        figures={TARGET: card.ap / 100},
        recipe=parse_recipe(RECIPES.get(card.family, ""), card.family),
        source=card.source,
        licence=card.weights_licence,
        data=ZOO,
        params_m=card.params_m,
        gflops=card.gflops,
        size=compared_size(card.measured_params, card.measured_flops, card.params_m, card.gflops),
        latency={} if card.t4_ms is None else {DEVICE: card.t4_ms},
        facts=tuple(
            LatencyFact(fact.ms, fact.device, fact.runtime, "", 1, fact.note, fact.source) for fact in card.latencies
        ),
    )
