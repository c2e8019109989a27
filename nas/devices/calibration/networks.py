"""The networks that a calibration measures: small chains and random detectors that are fitted, and held-out ones.

Detectors sampled from the shipped spaces show how whole networks behave. The held-out networks are further ones of
those, two published architectures and, if torch is installed, three detectors of the zoo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.devices.calibration.chains import designed_chains
from nas.devices.network import Network
from search_spaces.graph import Graph

DESIGN = 2
"""Version of the designed set and of how it is measured: a journal of another one is not resumed."""
MOST_DETECTOR_MACS = 1.5e9
"""Multiply-accumulates of a random detector that is fitted, if one of its sides allows it."""
SIDES = (160, 224, 320, 416, 512, 640)
"""Input sides of the random detectors that are fitted, pixels."""
HELD_OUT_PX = 320
ZOO_MODELS = ("yolox-nano", "yolo11n", "yolo26n")
"""Held-out detectors of other families, if torch is installed."""


@dataclass(frozen=True)
class Design:
    """How much is measured: chains and random detectors that are fitted; random detectors and models held out.

    At least ``min_fitted`` and ``min_held_out`` of them must be measured before a fit. ``size`` scales the limits on
    the work and traffic of a chain, and on a fitted detector.
    """

    chains: int = 240
    detectors: int = 36
    held_out_detectors: int = 12
    models: tuple[str, ...] = ("damo-yolo-ns", "damo-yolo-t", *ZOO_MODELS)
    min_fitted: int = 60
    min_held_out: int = 6
    size: float = 1.0

    @staticmethod
    def of_device(device: str) -> Design:
        """The shipped design; on a GPU with larger networks, which otherwise would measure kernel starts alone."""
        return Design(size=30.0) if device == "cuda" else Design()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the header of a journal."""
        return {
            "chains": self.chains,
            "detectors": self.detectors,
            "strangers": self.held_out_detectors,
            "models": self.models,
            "fewest_fitted": self.min_fitted,
            "fewest_judges": self.min_held_out,
            "size": self.size,
        }


@dataclass(frozen=True)
class CalibrationNetwork:
    """One network of the set: its name and kind, whether it is held out of the fit, and how to make it."""

    name: str
    kind: str
    held_out: bool
    make: Callable[[], Network]


def designed_networks(design: Design, seed: int) -> list[CalibrationNetwork]:
    """The whole set, in the order of its first pass."""
    from search_spaces.lowering import lower
    from search_spaces.published import PUBLISHED

    networks = []
    for graph in designed_chains(design.chains, seed, design.size):
        networks.append(CalibrationNetwork(graph.name, graph.name.rpartition("-")[0], False, _maker(graph, None)))
    most_macs = design.size * MOST_DETECTOR_MACS
    for graph, px in _random_detectors(design.detectors, seed + 1, SIDES, most_macs, "fit"):
        networks.append(CalibrationNetwork(graph.name, "detector", False, _maker(graph, px)))
    for graph, px in _random_detectors(design.held_out_detectors, seed + 2, (HELD_OUT_PX,), math.inf, "stranger"):
        networks.append(CalibrationNetwork(graph.name, "random detector", True, _maker(graph, px)))
    for name in design.models:
        if name in PUBLISHED:
            make = _maker(lower(PUBLISHED[name]), HELD_OUT_PX)
            networks.append(CalibrationNetwork(name, "damo-yolo", True, make))
        elif _has_torch():
            networks.append(CalibrationNetwork(name, "zoo", True, _zoo_maker(name)))
    order = np.random.default_rng(seed + 3).permutation(len(networks))
    return [networks[i] for i in order]


def _random_detectors(
    count: int, seed: int, sides: Sequence[int], most_macs: float, label: str
) -> list[tuple[Graph, int]]:
    """Detectors sampled uniformly from the shipped spaces in turn, with an input side (pixels) within ``most_macs``.

    The smallest side is taken if none is.
    """
    from search_spaces.lowering import lower
    from search_spaces.space_file import load_space, space_names

    rng = np.random.default_rng(seed)
    spaces = [load_space(name) for name in space_names()]
    detectors: list[tuple[Graph, int]] = []
    while len(detectors) < count:
        space = spaces[len(detectors) % len(spaces)]
        graph = lower(space.decode(space.sample(1, rng)[0], f"{label}-{space.name}-{len(detectors):02d}"))
        table = graph.table(640)
        macs_per_pixel = float(table.total(table.macs)) / 640**2
        allowed = [side for side in sides if macs_per_pixel * side**2 <= most_macs] or [min(sides)]
        detectors.append((graph, int(rng.choice(allowed))))
    return detectors


def _maker(graph: Graph, px: int | None) -> Callable[[], Network]:
    return lambda: Network.of_graph(graph, None if px is None else (px, px))


def _zoo_maker(name: str) -> Callable[[], Network]:
    """A network of the zoo whose ONNX file is exported once, because that takes longer than measuring it."""
    cache: list[Network] = []

    def make() -> Network:
        from nas.devices.find_network import find_network

        if not cache:
            cache.append(find_network(name, HELD_OUT_PX).with_cached_onnx())
        return cache[0]

    return make


def _has_torch() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None
