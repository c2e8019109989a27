"""The reference network: a small fixed detector that is timed between the runs of other networks.

The speed of a machine changes while it measures: another guest of the same host, a hot day, a fan. It changes for all
networks nearly alike, so that the ratio to the reference network at the same moment stays where milliseconds do not.
"""

from __future__ import annotations

import dataclasses

from nas.devices.network import Network
from nas.devices.runtimes.runtime import Session, Target
from nas.devices.session import open_network

ARCHITECTURE = "damo-yolo-ns"
SIDE_PX = {"cpu": 64, "cuda": 320}
"""Input side in pixels by device: one to two milliseconds of a core, more than the start of a run on a GPU."""


def reference_network(target: Target) -> Network:
    """The reference network of a target, its weights drawn from seed 0."""
    from search_spaces.lowering import lower
    from search_spaces.published import PUBLISHED

    side = SIDE_PX[target.device]
    network = Network.of_graph(lower(PUBLISHED[ARCHITECTURE]), (side, side))
    return dataclasses.replace(network, name=f"{ARCHITECTURE} at {side} px")


def open_reference(target: Target) -> Session:
    """The reference network, loaded."""
    return open_network(reference_network(target), target)
