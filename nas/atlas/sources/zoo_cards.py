"""The zoo's detectors with what their cards quote: AP, sizes, latencies and the licence of the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nas.atlas.atlas import Atlas
from nas.atlas.entry import Entry, LatencyFact
from nas.atlas.marks import compared_size
from nas.atlas.recipes import parse_recipe
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


def read_zoo(progress: Progress | None = None) -> Atlas:
    """Every model of the zoo at its published input size: the whole detector in deploy form without box decoding."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("the zoo's detectors", error.name, "torch") from error
    from zoo.families.card import load_cards
    from zoo.resolve import resolve_model

    cards = list(load_cards().values())
    graphs = {}
    for count, card in enumerate(cards, start=1):
        if progress is not None:
            progress.show(f"{count} of {len(cards)} detectors traced: {card.model}", force=count == len(cards))
        graph = resolve_model(card.model).graph("detector", card.input_px)
        graphs[card.model] = graph.without_part(DECODE_PART) if any(op.part == DECODE_PART for op in graph) else graph
        graphs[card.model].name = card.model
    ms = {card.model: math.nan if card.t4_ms is None else card.t4_ms for card in cards}
    return Atlas(
        entries=tuple(_entry(card, graphs[card.model]) for card in cards),
        graphs=graphs,
        points={(card.model, card.input_px): {TARGET: card.ap / 100} for card in cards},
        latency={(card.model, card.input_px): {DEVICE: ms[card.model]} for card in cards},
        accuracy_columns=(TARGET,),
        latency_columns=(DEVICE,),
        data=(ZOO,),
    )


def _entry(card: Card, graph: Graph) -> Entry:
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
