"""Rows of models of the zoo and of network files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.comparison.formatting import NOT_KNOWN
from nas.comparison.rows import GIVEN, PUBLISHED, ZOO, Accuracy, ComparisonRow
from nas.comparison.sources.costs import compared_costs
from nas.devices.profile import DeviceProfile
from search_spaces.architecture import Architecture
from search_spaces.graph import Graph
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED as OWN_STYLE
from workbench.errors import BadInput, missing_package
from zoo.families.card import Card, find_card, load_cards


def nms_of(end2end: bool) -> str:
    """Whether non-maximum suppression is needed, as the column says it."""
    return "none" if end2end else "needed"


def nms_of_architecture(arch: Architecture) -> str:
    """Whether a detector of this architecture needs non-maximum suppression."""
    return nms_of(arch.head is not None and arch.head.one_to_one)


def selected_cards(only: Sequence[str] | None) -> list[Card]:
    """Cards of the named families and models (None: all), in the order of the zoo."""
    cards = load_cards()
    if only is None:
        return list(cards.values())
    models: set[str] = set()
    for name in only:
        models |= {card.model for card in cards.values() if card.family == name} or {find_card(name).model}
    return [card for card in cards.values() if card.model in models]


def card_row(card: Card, profiles: Sequence[DeviceProfile], input_px: int | None = None) -> ComparisonRow:
    """A model of the zoo with the AP of its card, costed at its published input side, or at ``input_px``.

    At another side than the published one it has no AP: what it would reach there is not published.
    """
    px = input_px or card.input_px
    published = f"{card.params_m:g} M parameters, {card.gflops:g} GFLOPs at {card.input_px} px"
    facts = [("published", published), ("source", card.source)]
    facts += [("note", card.note)] if card.note else []
    for latency in card.latencies:
        text = f"{latency.ms:g} ms; {latency.runtime}; {latency.source}" + (f"; {latency.note}" if latency.note else "")
        facts.append((f"published on {latency.device}", text))
    facts.append(("code", card.code_licence))
    if px != card.input_px:
        facts.append(("AP", f"{100 * card.ap:.1f} is published at {card.input_px} px, not at {px} px"))
    graph, nms, digest = _card_network(card, px)
    costs = compared_costs(graph, px, profiles)
    return ComparisonRow(
        name=card.model,
        kind=ZOO,
        family=card.family,
        input_px=px,
        params=costs.params,
        flops=costs.flops,
        nms=nms,
        licence=card.weights_licence,
        values=costs.values,
        accuracy=Accuracy(card.ap, PUBLISHED, card.source, card.note) if px == card.input_px else None,
        source="zoo",
        digest=digest,
        facts=tuple(facts),
    )


def _card_network(card: Card, input_px: int) -> tuple[Graph, str, str]:
    """Graph, NMS and architecture digest (empty if it has none) of a model of the zoo."""
    if card.model in OWN_STYLE:
        arch = OWN_STYLE[card.model]
        return lower(arch), nms_of_architecture(arch), arch.digest()
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        task = f"tracing {card.model} (--only damo-yolo needs none)"
        raise missing_package(task, error.name, "torch") from error
    from zoo.factory import build
    from zoo.meta import without_weights

    with without_weights():
        detector = build(card.model)
    return detector.graph(input_px), nms_of(detector.end2end), ""


def named_row(name: str, profiles: Sequence[DeviceProfile], input_px: int | None = None) -> ComparisonRow:
    """A model of the zoo by name, at ``input_px`` (None: its own side), or a network in a file at its own side."""
    path = Path(name)
    if not path.exists() and not path.suffix and "/" not in name:
        return card_row(find_card(name), profiles, input_px)
    if path.suffix in (".pt", ".pth", ".npz"):
        raise BadInput(f"{name!r} is not in this workbench's format: convert it with nas zoo import {name}")
    from nas.devices.find_network import find_network

    network = find_network(name)
    costs = compared_costs(network.graph, network.table_px, profiles)
    arch = Architecture.load(path) if path.suffix in (".yaml", ".yml") else None
    if arch is not None and arch.head is None:
        raise BadInput(f"{name!r} is a bare backbone: only whole detectors are compared")
    facts = [("file", path.name), ("input", f"{network.size[0]} × {network.size[1]} px")]
    unknown = network.graph.meta.get("unknown_ops")
    if unknown:
        ops = ", ".join(map(str, unknown))
        facts.append(("warning", f"ops that the profiles do not know, costed as memory traffic: {ops}"))
    return ComparisonRow(
        name=network.name or path.stem,
        kind=GIVEN,
        family="given",
        input_px=network.size[0],
        params=costs.params,
        flops=costs.flops,
        nms=NOT_KNOWN if arch is None else nms_of_architecture(arch),
        licence="yours",
        values=costs.values,
        source="file",
        digest="" if arch is None else arch.digest(),
        facts=tuple(facts),
    )
