"""Which channel of the source every channel of the target takes, along every axis of every paired tensor.

Both networks have units of channels that belong together (``zoo.pruning.groups``), and parallel units form a group. A
group of the target takes the units of one group of the source: the one at the same places. Where the two networks tie
their channels differently, a group of the target meets several of the source, or the other way round; then every place
is decided on its own, the pair with the most places in common first, and the function is not preserved there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from zoo.pruning.groups import ChannelGroups

Place = tuple[str, int]
"""A tensor of the target and one of its axes."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network's channel groups with what the maps need of them."""

    groups: ChannelGroups
    group_of: np.ndarray
    """Group of every unit, int64 ``[count]``; all units belong to one, those that cannot be cut included."""
    rank_of: np.ndarray
    """Place of every unit in its group, int64 ``[count]``."""
    members: tuple[np.ndarray, ...]
    """The units of every group."""
    written: np.ndarray
    """Whether some layer computes the group's channels, bool a group."""
    read: np.ndarray
    """Whether some layer takes the group's channels as its input, bool a group."""

    def places(self, names: Mapping[str, str], without: Set[Place]) -> dict[Place, np.ndarray]:
        """Units along the axes of paired tensors: ``names`` are target names to the network's own."""
        found = {}
        for name, own in names.items():
            for axis, units in self.groups.axes.get(own, {}).items():
                if (name, axis) not in without:
                    found[name, axis] = units
        return found


@dataclass(slots=True)
class ChannelMaps:
    """Channel of the source by place, int64 ``[channels of the target]``; -1 where there is none."""

    maps: dict[Place, np.ndarray] = field(default_factory=dict)
    differing: tuple[str, ...] = ()
    """Tensors where the two networks tie their channels differently."""


def network_of(module: nn.Module, groups: ChannelGroups) -> Network:
    """The groups of all units of ``module``, by the places where they have their channels."""
    random = np.random.default_rng(0)
    signature = np.zeros(groups.count, dtype=np.uint64)
    first = np.full(groups.count, np.iinfo(np.int64).max)
    written, read = np.zeros((2, groups.count), dtype=bool)
    position = 0
    for name, by_axis in groups.axes.items():
        for axis, units in by_axis.items():
            np.add.at(signature, units, random.integers(1, 2**63, dtype=np.uint64))
            np.minimum.at(first, units, position + np.arange(len(units)))
            position += len(units)
            (read if reads_channels(module, name, axis) else written)[units] = True
    order = np.argsort(first, kind="stable")
    number: dict[int, int] = {}
    members: list[list[int]] = []
    group_of, rank_of = np.zeros((2, groups.count), dtype=np.int64)
    for unit in order.tolist():
        group = number.setdefault(int(signature[unit]), len(members))
        if group == len(members):
            members.append([])
        group_of[unit], rank_of[unit] = group, len(members[group])
        members[group].append(unit)
    lead = [units[0] for units in members]
    return Network(groups, group_of, rank_of, tuple(map(np.array, members)), written[lead], read[lead])


def reads_channels(module: nn.Module, name: str, axis: int) -> bool:
    """Whether an axis of a tensor has the input channels of a layer."""
    path, _, own = name.rpartition(".")
    return axis == 1 and own == "weight" and isinstance(module.get_submodule(path), (nn.Conv2d, nn.Linear))


def channel_maps(
    target: Network, source: Network, names: Mapping[str, str], importance: np.ndarray, without: Set[Place]
) -> ChannelMaps:
    """Map the channels at all places of the paired tensors.

    Args:
        names: tensors of the target to those of the source.
        importance: of the source's units, ``[source.groups.count]``.
        without: places that are left out.
    """
    ours, theirs = target.places({name: name for name in names}, without), source.places(names, without)
    common = [place for place in ours if place in theirs]
    chosen = _match_groups(target, source, {place: (ours[place], theirs[place]) for place in common})
    partners: dict[int, set[int]] = defaultdict(set)
    owners: dict[int, set[int]] = defaultdict(set)
    for (_, group), partner in chosen.items():
        partners[group].add(partner)
        owners[partner].add(group)
    units = {
        (group, partner): _source_units(len(target.members[group]), source.members[partner], importance)
        for group in partners
        for partner in partners[group]
    }
    maps, differing = {}, []
    for place in common:
        groups = np.unique(target.group_of[ours[place]]).tolist()
        wanted = np.full(target.groups.count, -1, dtype=np.int64)
        for group in groups:
            match = chosen.get((place, group))
            if match is not None:
                wanted[target.members[group]] = units[group, match]
                if len(partners[group]) > 1 or len(owners[match]) > 1:
                    differing.append(place[0])
        maps[place] = _channels(ours[place], theirs[place], wanted)
    return ChannelMaps(maps, tuple(dict.fromkeys(differing)))


def _match_groups(
    target: Network, source: Network, common: Mapping[Place, tuple[np.ndarray, np.ndarray]]
) -> dict[tuple[Place, int], int]:
    """Group of the source for every place and group of the target; at a place each is taken once at most."""
    here: dict[tuple[int, int], list[Place]] = defaultdict(list)
    ours, theirs = np.zeros(len(target.members)), np.zeros(len(source.members))
    for place, (units, source_units) in common.items():
        groups, partners = np.unique(target.group_of[units]), np.unique(source.group_of[source_units])
        ours[groups] += 1
        theirs[partners] += 1
        for group in groups.tolist():
            for partner in partners.tolist():
                if _fits(target, source, group, partner):
                    here[group, partner].append(place)

    def likeness(pair: tuple[int, int]) -> float:
        shared = len(here[pair])
        return float(shared / (ours[pair[0]] + theirs[pair[1]] - shared))

    chosen: dict[tuple[Place, int], int] = {}
    taken: set[tuple[Place, int]] = set()
    for pair in sorted(here, key=lambda pair: (-likeness(pair), pair)):
        for place in here[pair]:
            if (place, pair[0]) not in chosen and (place, pair[1]) not in taken:
                chosen[place, pair[0]] = pair[1]
                taken.add((place, pair[1]))
    return chosen


def _fits(target: Network, source: Network, group: int, partner: int) -> bool:
    """Whether a group can take another's units: outputs and inputs of the whole network only in equal numbers."""
    inside = all((target.written[group], target.read[group], source.written[partner], source.read[partner]))
    return inside or len(target.members[group]) == len(source.members[partner])


def _source_units(count: int, units: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """``count`` units of the source, int64: the most important ones in their order, or all and then doubles of the
    most important."""
    ranked = np.argsort(-importance[units], kind="stable")
    if count <= len(units):
        return units[np.sort(ranked[:count])]
    return np.concatenate([units, units[np.resize(ranked, count - len(units))]])


def _channels(ours: np.ndarray, theirs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For channels of the units ``ours`` the channels of the units ``wanted[ours]`` along an axis with ``theirs``.

    A unit may have several channels along an axis: the n-th of the m-th run of neighbors takes the n-th of the m-th.
    """
    there = {key: channel for channel, key in enumerate(_keys(theirs))}
    return np.array([there.get((int(wanted[unit]), run, n), -1) for unit, run, n in _keys(ours)], dtype=np.int64)


def _keys(units: np.ndarray) -> list[tuple[int, int, int]]:
    """Unit, run of neighboring channels of this unit, and place in the run, of every channel."""
    runs: dict[int, int] = {}
    keys: list[tuple[int, int, int]] = []
    before, n = None, 0
    for unit in units.tolist():
        if unit == before:
            n += 1
        else:
            runs[unit] = runs.get(unit, -1) + 1
            n = 0
        keys.append((unit, runs[unit], n))
        before = unit
    return keys
