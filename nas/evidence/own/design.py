"""The architectures of a design: runs picked so that every factor's effect is known best, each scaled to a latency.

Runs are picked one after the other from all combinations of levels, each the one that tells most about the main
effects beside those already picked (sequential D-optimality), so the first of many are the runs of few, and each
prefix is usable. The bands of latency take turns. All widths of a run are multiplied by one number, which brings its
predicted latency to the band; runs that no number within the
design's range brings there are left out.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nas.costs import architecture_costs
from nas.devices.profile import DeviceProfile
from nas.evidence.own.design_file import LISTS, Design, Level
from nas.evidence.own.sampling import SampledArchitecture
from search_spaces.architecture import Architecture
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.lowering import lower
from workbench.errors import BadInput

BAND = "band"
"""Name of the factor that the latency bands are."""
TOLERANCE = 0.01
"""Largest relative difference of an architecture's latency from its band."""
HALVINGS = 7
"""Steps of the search for the factor of all widths."""
NEAR, CLOSE = np.exp(np.array(sorted(np.linspace(-0.12, 0.12, 49), key=abs))), 0.004
"""Factors around its result that are tried in this order, until the relative difference is at most ``CLOSE``."""
RIDGE, DIGITS = 1e-3, 9
"""Small multiple of the identity with which the first pick starts, and digits in which gains are compared."""
MAX_COMBINATIONS = 100_000


def designed_architectures(
    design: Design, device: DeviceProfile, input_px: int, count: int, classes: int, log: Callable[[str], None]
) -> list[SampledArchitecture]:
    """The first ``count`` architectures of the design, with a head for ``classes``."""
    if design.base is None:
        return _listed(design, device, input_px, count, classes)
    found: list[SampledArchitecture] = []
    left_out = 0
    picks = _Picks(design)
    while len(found) < count:
        band = design.bands_ms[len(found) % len(design.bands_ms)]
        levels = picks.best(band)
        if levels is None:
            raise BadInput(
                f"design {design.name!r} has {len(found)} architectures at {list(design.bands_ms)} ms on {device.name} "
                f"at {input_px} px, not {count} ({left_out} others cannot be scaled there): "
                "ask for fewer, or change its bands"
            )
        arch = _scaled(design, levels, band, device, input_px, classes)
        picks.take(levels, band, arch is not None)
        if arch is None:
            left_out += 1
            continue
        family = levels[design.families]
        name = f"{design.name}-{family}-{len(found) + 1:03d}"
        arch = dataclasses.replace(arch, name=name)
        costs = architecture_costs(arch, input_px, device).costs
        found.append(SampledArchitecture(name, family, arch, costs, {**levels, BAND: f"{band:g}ms"}))
        log(f"{len(found)} of {count} architectures of design {design.name}; {left_out} cannot be scaled to their band")
    return found


def _listed(
    design: Design, device: DeviceProfile, input_px: int, count: int, classes: int
) -> list[SampledArchitecture]:
    """The architectures that the design lists, as they are but for the head's classes, each at its own input side."""
    if count > design.count:
        raise BadInput(f"design {design.name!r} lists {design.count} architectures, not {count}")
    found = []
    for arch in design.architectures[:count]:
        assert arch.head is not None
        arch = dataclasses.replace(arch, head=dataclasses.replace(arch.head, classes=classes))
        costs = architecture_costs(arch, arch.input_px or input_px, device).costs
        found.append(SampledArchitecture(arch.name, arch.style, arch, costs))
    return found


class _Picks:
    """Combinations of levels in the order in which they tell most about the main effects."""

    def __init__(self, design: Design) -> None:
        assert design.factors is not None
        self.factors = {name: list(levels) for name, levels in design.factors.items()}
        self.bands = list(design.bands_ms)
        sizes = [len(levels) for levels in self.factors.values()]
        if np.prod(sizes, dtype=float) > MAX_COMBINATIONS:
            combinations = " * ".join(map(str, sizes))
            raise BadInput(f"design {design.name!r} has {combinations} combinations, more than {MAX_COMBINATIONS:,}")
        # ties between equally good picks go by chance, else all would share levels that stand first
        rows = np.array(list(itertools.product(*map(range, sizes))))
        self.rows = np.random.default_rng(0).permutation(rows)
        self.free = np.ones(len(rows), dtype=bool)
        self.coded = np.concatenate(
            [np.ones((len(rows), 1)), *(_sum_codes(n)[self.rows[:, at]] for at, n in enumerate(sizes))], axis=1
        )
        terms = self.coded.shape[1] + len(self.bands) - 1
        self.information = RIDGE * np.eye(terms)

    def best(self, band: float) -> dict[str, str] | None:
        """The free combination that tells most at this band; None if there is none left."""
        if not self.free.any():
            return None
        coded = self._with_band(band)
        gain = np.einsum("ij,ij->i", coded, np.linalg.solve(self.information, coded.T).T).round(DIGITS)
        self._at = int(np.where(self.free, gain, -np.inf).argmax())
        return {name: levels[i] for (name, levels), i in zip(self.factors.items(), self.rows[self._at], strict=True)}

    def take(self, levels: Mapping[str, str], band: float, usable: bool) -> None:
        """Remove the combination that ``best`` gave, and count it if it is usable."""
        self.free[self._at] = False
        if usable:
            row = self._with_band(band)[self._at]
            self.information += np.outer(row, row)

    def _with_band(self, band: float) -> np.ndarray:
        codes = _sum_codes(len(self.bands))[self.bands.index(band)]
        return np.concatenate([self.coded, np.broadcast_to(codes, (len(self.coded), len(codes)))], axis=1)


def _sum_codes(levels: int) -> np.ndarray:
    """Codes ``[levels, levels - 1]`` whose columns sum to 0."""
    return np.concatenate([np.eye(levels - 1), -np.ones((1, levels - 1))])


def _scaled(
    design: Design, levels: Mapping[str, str], band: float, device: DeviceProfile, input_px: int, classes: int
) -> Architecture | None:
    """The architecture of these levels at the latency of the band; None if no width brings it there."""
    shape = apply_levels(design, levels)

    def latency(scale: float) -> float:
        arch = build(shape, scale, design.channel_step, classes, f"design {design.name!r}")
        return float(device.latency_ms(lower(arch), input_px))

    low, high = design.scales
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if latency(middle) < band else (low, middle)
    best, error = 1.0, np.inf
    for scale in np.clip(np.sqrt(low * high) * NEAR, *design.scales):
        off = abs(latency(float(scale)) / band - 1)
        if off < error:
            best, error = float(scale), off
        if error <= CLOSE:
            break
    if error > TOLERANCE:
        return None
    return build(shape, best, design.channel_step, classes, f"design {design.name!r}")


def apply_levels(design: Design, levels: Mapping[str, str]) -> dict[str, Any]:
    """The base with what the levels set and multiply, as plain data; widths are not rounded yet."""
    assert design.base is not None and design.factors is not None
    shape = copy.deepcopy(dict(design.base))
    chosen = [design.factors[factor][level] for factor, level in levels.items()]
    for level in chosen:
        _change(shape, level)
    return shape


def _change(shape: dict[str, Any], level: Level) -> None:
    for path, value in level.sets.items():
        for holder, key, new in _places(shape, path, value):
            holder[key] = new
    for path, value in level.times.items():
        for holder, key, factor in _places(shape, path, value):
            holder[key] = holder[key] * factor


def _places(shape: dict[str, Any], path: str, value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Every place of a path with its share of ``value``: mapping or list, its key, and the value for it."""
    part, _, field = path.partition(".")
    if not field:
        yield shape, part, value
    elif part == "stages":
        for stage, own in zip(shape["stages"], _shares(path, value, len(shape["stages"])), strict=True):
            yield stage, field, own
    elif path == "neck.out":
        shape["neck"]["out"] = list(shape["neck"]["out"])
        for at, own in enumerate(_shares(path, value, len(shape["neck"]["out"]))):
            yield shape["neck"]["out"], at, own
    else:
        yield shape[part], field, value


def _shares(path: str, value: Any, count: int) -> Sequence[Any]:
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        what = LISTS.get(path) or LISTS[path.partition(".")[0]]
        raise BadInput(f"{path}: {value} must be one value, or a list with one for each of the {count} {what}")
    return value


def build(shape: Mapping[str, Any], scale: float, step: int, classes: int, where: str) -> Architecture:
    """The architecture of ``shape`` with all widths multiplied by ``scale`` and rounded to multiples of ``step``.

    The depth of a stage is at most what its kind allows.
    """

    def width(value: float) -> int:
        return max(1, round(value * scale / step)) * step

    stages = []
    for stage in shape["stages"]:
        kind = BLOCK_KINDS.get(str(stage["kind"]))
        depth = stage.get("depth", 1)
        if kind is not None and kind.max_depth is not None:
            depth = min(depth, kind.max_depth)
        plain = {key: value for key, value in stage.items() if key != "btn_ratio"}
        widths = {"out": width(stage["out"]), "btn": width(stage["out"] * stage["btn_ratio"])}
        stages.append({**plain, **widths, "depth": depth})
    return Architecture.from_dict(
        {
            **shape,
            "stem": {**shape["stem"], "out": width(shape["stem"]["out"])},
            "stages": stages,
            "neck": {**shape["neck"], "out": [width(value) for value in shape["neck"]["out"]]},
            "head": {**shape["head"], "classes": classes},
        },
        where,
    )
