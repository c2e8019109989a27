"""Architecture: a searched detector as plain, frozen data.

``Architecture`` holds the backbone's stem and stages and, for a whole detector, the
neck and head settings; ``search_spaces.lowering`` turns it into a Graph. It is read from
and written to YAML, and its digest does not depend on formatting.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import MIXED_STYLE, fits_style
from search_spaces.head import Head as Head
from search_spaces.neck import LEVEL_STRIDES, level_name
from search_spaces.neck import Neck as Neck
from search_spaces.necks import NECK_KINDS
from search_spaces.stage import Stage as Stage
from workbench.doors.bytes import read_text
from workbench.doors.yaml import MOST_BYTES, parse_yaml, yaml_text
from workbench.errors import BadInput, unknown_name
from workbench.printable import shown

STYLES = ("res", "csp", "mob", "bottleneck", MIXED_STYLE)
"""Backbone styles: how stages are wired. See ``search_spaces.blocks``."""

SEARCHED_ACTIVATIONS = ("relu", "silu")
"""Activations that a backbone or a neck may have."""
FORMAT = "nas-architecture-1"
MOST = 2**31
"""Largest channel count."""
MOST_INPUT_PX = 8192
"""Longest input side in pixels."""
MOST_BLOCKS = 1000
"""Largest depth of a stage; far above any network that has been trained, and few enough to build."""
MOST_HEAD_CONVS = 16
"""Most stacked convolutions before a prediction."""
DETECTOR_STRIDES = (8, 16, 32)
"""Strides of the maps of a backbone that stands alone."""


@dataclass(frozen=True, slots=True)
class Stem:
    """First layer: a kxk conv. ``focus`` folds 2x2 pixels into channels first (12 inputs, total stride 2);
    without it the conv itself has ``stride`` 1 or 2."""

    out: int
    k: int = 3
    focus: bool = True
    stride: int = 2


@dataclass(frozen=True, slots=True, repr=False)
class Architecture:
    """A backbone (``stem`` and ``stages``) and, unless it is a bare backbone, ``neck`` and ``head``.

    ``input_px`` is the side (pixels) that it was searched for, where it is known; like the name it is no part of the
    network.
    """

    style: str
    stem: Stem
    stages: tuple[Stage, ...]
    act: str = "relu"
    spp: bool = True
    neck: Neck | None = None
    head: Head | None = None
    name: str = dataclasses.field(default="", compare=False)
    input_px: int | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_architecture(self)

    def __repr__(self) -> str:
        widths = "-".join(str(stage.out) for stage in self.stages)
        neck = "" if self.neck is None else f", neck {'-'.join(map(str, self.neck.out))}"
        head = "" if self.head is None else f", {self.head.classes} classes"
        name = repr(self.name or self.digest())
        return f"Architecture({name}, {self.style}, stem {self.stem.out}, stages {widths}{neck}{head})"

    def __str__(self) -> str:
        """One line for the whole, then one line a stage."""
        lines = [repr(self)]
        for number, (stage, stride) in enumerate(zip(self.stages, self.strides, strict=True), start=1):
            shape = f"out {stage.out:4d}, btn {stage.btn:4d}, k {stage.k}"
            lines.append(f"  stage {number}: {stage.depth} x {stage.kind}, {shape}, total stride {stride}")
        return "\n".join(lines)

    @property
    def strides(self) -> tuple[int, ...]:
        """Total stride after every stage."""
        at, out = self.stem.stride, []
        for stage in self.stages:
            at *= stage.stride
            out.append(at)
        return tuple(out)

    @property
    def level_strides(self) -> tuple[int, ...]:
        """Strides of the maps that leave the backbone, finest first: the neck's, or 8, 16 and 32 without one."""
        return DETECTOR_STRIDES if self.neck is None else self.neck.strides

    @property
    def taps(self) -> tuple[int, ...]:
        """Stages that feed the levels, finest first: the last one at each of ``level_strides``."""
        strides, wanted = self.strides, self.level_strides
        missing = [s for s in wanted if s not in strides]
        if missing:
            where = f"architecture {self.name!r}"
            raise BadInput(f"{where} has no stage at stride {missing[0]}: a detector needs {_listed(wanted)}")
        return tuple(max(i for i, at in enumerate(strides) if at == s) for s in wanted)

    @property
    def tap_channels(self) -> tuple[int, ...]:
        """Channels of the maps as they leave the backbone, finest first."""
        return tuple(self.stages[tap].out for tap in self.taps)

    def backbone(self) -> Architecture:
        """The same backbone without neck and head."""
        return dataclasses.replace(self, neck=None, head=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for YAML and JSON; ``from_dict`` reads it back."""
        data: dict[str, Any] = {"format": FORMAT, "style": self.style, "act": self.act, "spp": self.spp}
        if self.name:
            data["name"] = self.name
        if self.input_px is not None:
            data["input_px"] = self.input_px
        data["stem"] = dataclasses.asdict(self.stem)
        data["stages"] = [dataclasses.asdict(stage) for stage in self.stages]
        if self.neck is not None:
            data["neck"] = self.neck.to_dict()
        if self.head is not None:
            data["head"] = self.head.to_dict()
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any], where: str = "architecture") -> Architecture:
        """Build from plain data; a wrong field raises ``BadInput`` naming it and the rule."""
        if not isinstance(data, Mapping):
            raise BadInput(f"{where}: expected a mapping with 'style', 'stem' and 'stages'")
        if data.get("format", FORMAT) != FORMAT:
            raise BadInput(f"{where}: format {data['format']!r} is not {FORMAT!r}, the only one this version reads")
        known = {"format", "style", "act", "spp", "name", "input_px", "stem", "stages", "neck", "head"}
        for key in data:
            if key not in known:
                raise unknown_name(f"field in {where}", str(key), known)
        stages = data.get("stages")
        if not isinstance(stages, list) or not stages:
            raise BadInput(f"{where}: 'stages' must be a non-empty list")
        neck, head = data.get("neck"), data.get("head")
        return Architecture(
            style=str(data.get("style", "")),
            stem=read_fields(Stem, data.get("stem"), f"{where}: stem"),
            stages=tuple(read_fields(Stage, item, f"{where}: stages[{i}]") for i, item in enumerate(stages)),
            act=str(data.get("act", "relu")),
            spp=bool(data.get("spp", True)),
            neck=None if neck is None else read_fields(Neck, neck, f"{where}: neck"),
            head=None if head is None else read_fields(Head, head, f"{where}: head"),
            name=str(data.get("name", "")),
            input_px=data.get("input_px"),
        )

    def to_yaml(self) -> str:
        """YAML text that ``from_yaml`` reads back to an equal Architecture."""
        return yaml_text(self.to_dict(), default_flow_style=None)

    @staticmethod
    def from_yaml(text: str, where: str = "architecture") -> Architecture:
        """Read YAML text."""
        data = parse_yaml(text, where)
        if isinstance(data, Mapping) and "architecture" in data:  # a study's best.yaml wraps it
            data = data["architecture"]
        return Architecture.from_dict(data, where)

    @staticmethod
    def load(path: str | Path) -> Architecture:
        """Read an architecture YAML file, bare or wrapped in a study's ``best.yaml``."""
        return Architecture.from_yaml(read_text(path, "architecture", MOST_BYTES), str(path))

    def digest(self) -> str:
        """Stable 12-digit fingerprint; the name and the input side do not count."""
        plain = {key: value for key, value in self.to_dict().items() if key not in ("name", "input_px")}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def check_architecture(arch: Architecture) -> None:
    """Raise ``BadInput`` for the first field that breaks a rule."""
    if arch.style not in STYLES:
        raise unknown_name("backbone style", arch.style, STYLES)
    if arch.act not in SEARCHED_ACTIVATIONS:
        raise unknown_name("activation", arch.act, SEARCHED_ACTIVATIONS)
    if not arch.stages:
        raise BadInput("an architecture needs at least one stage")
    if arch.input_px is not None:
        _check_int("input_px", arch.input_px, 32, MOST_INPUT_PX)
        if arch.input_px % arch.level_strides[-1]:
            raise BadInput(f"input_px {arch.input_px} must be a multiple of {arch.level_strides[-1]}")
    _check_int("stem: out", arch.stem.out, 1)
    _check_kernel("stem: k", arch.stem.k)
    if arch.stem.stride not in (1, 2) or (arch.stem.focus and arch.stem.stride != 2):
        raise BadInput(f"stem: stride {arch.stem.stride!r} must be 2 with focus, else 1 or 2")
    for i, stage in enumerate(arch.stages):
        if stage.kind not in BLOCK_KINDS:
            raise unknown_name(f"block kind in stages[{i}]", stage.kind, BLOCK_KINDS)
        if not fits_style(BLOCK_KINDS[stage.kind], arch.style):
            style = BLOCK_KINDS[stage.kind].style
            raise BadInput(f"stages[{i}]: block kind {stage.kind!r} belongs to style {style!r}, not {arch.style!r}")
        _check_int(f"stages[{i}]: out", stage.out, 1)
        _check_int(f"stages[{i}]: btn", stage.btn, 1)
        _check_int(f"stages[{i}]: depth", stage.depth, 1, MOST_BLOCKS)
        _check_kernel(f"stages[{i}]: k", stage.k)
        if stage.stride not in (1, 2):
            raise BadInput(f"stages[{i}]: stride {stage.stride!r} must be 1 or 2")
        BLOCK_KINDS[stage.kind].check(stage, i, arch.stages[i - 1] if i else None)
        if arch.style == "csp" and stage.stride == 1 and not BLOCK_KINDS[stage.kind].tinynas:
            rule = f"in style csp a stage of kind {stage.kind!r} must have stride 2: stride 1 continues a wrapping"
            raise BadInput(f"stages[{i}]: {rule}; use style 'mixed' without kxkx")
    if (arch.neck is None) != (arch.head is None):
        raise BadInput("neck and head come together: give both for a detector, neither for a backbone")
    if arch.neck is not None and arch.head is not None:
        check_neck(arch.neck)
        check_head(arch.head)
        last = len(arch.stages) - 1
        if arch.taps[-1] != last:
            raise BadInput(
                f"stages[{last}] has total stride {arch.strides[-1]} and feeds no level: leave it out, or add its "
                f"stride to the neck's strides {_listed(arch.neck.strides)}"
            )


def check_neck(neck: Neck) -> None:
    """Raise ``BadInput`` where a neck breaks a rule."""
    if neck.kind not in NECK_KINDS:
        raise unknown_name("neck kind", neck.kind, NECK_KINDS)
    levels = len(neck.strides)
    if levels < 2 or neck.strides not in [LEVEL_STRIDES[i : i + levels] for i in range(len(LEVEL_STRIDES))]:
        raise BadInput(f"neck: strides {list(neck.strides)} must be two to four neighbors of {_listed(LEVEL_STRIDES)}")
    if len(neck.out) != levels:
        names = _listed([level_name(stride).upper() for stride in neck.strides])
        raise BadInput(f"neck: out {list(neck.out)} must list the channels of {names}: one for each of its strides")
    for channels in neck.out:
        _check_int("neck: out", channels, 2)
    if neck.act not in SEARCHED_ACTIVATIONS:
        raise unknown_name("activation of the neck", neck.act, SEARCHED_ACTIVATIONS)
    if not 0 < neck.hidden_ratio <= 4 or not 0 < neck.depth <= 10:
        raise BadInput(f"neck: hidden_ratio {neck.hidden_ratio} must be in (0, 4] and depth {neck.depth} in (0, 10]")
    NECK_KINDS[neck.kind].check(neck)


def check_head(head: Head) -> None:
    """Raise ``BadInput`` where a head breaks a rule."""
    _check_int("head: classes", head.classes, 1)
    _check_int("head: reg_max", head.reg_max, 0)
    _check_kernel("head: k", head.k)
    _check_int("head: convs", head.convs, 0, MOST_HEAD_CONVS)
    _check_int("head: width", head.width, 0)


def _listed(values: Sequence[object]) -> str:
    """``8, 16 and 32``."""
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]}" if len(values) > 1 else str(values[0])


def _check_int(what: str, value: Any, least: int, most: int = MOST) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"{what} {value!r:.40} must be a whole number of at least {least} and at most {most}")


def _check_kernel(what: str, value: Any) -> None:
    _check_int(what, value, 1)
    if value % 2 == 0 or value > 31:
        raise BadInput(f"{what} {value!r} must be an odd kernel size up to 31")


def read_fields(kind: Any, data: Any, where: str) -> Any:
    """Build a small dataclass from a mapping, naming unknown, missing and mistyped fields."""
    if not isinstance(data, Mapping):
        raise BadInput(f"{where} must be a mapping, not {shown(data)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            raise unknown_name(f"field in {where}", str(key), fields)
    missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in data]
    if missing:
        raise BadInput(f"{where}: field {missing[0]!r} is missing")
    values = dict(data)
    for name, value in values.items():
        expected = str(fields[name].type)
        if expected == "tuple[str, ...]":
            items = value if isinstance(value, (list, tuple)) else [None]
            if not all(isinstance(v, str) for v in items):
                raise BadInput(f"{where}: {name}={shown(value)} must be a list of names")
            values[name] = tuple(value)
        elif expected.startswith("tuple"):
            items = value if isinstance(value, (list, tuple)) else [None]
            if any(isinstance(v, bool) or not isinstance(v, int) for v in items):
                raise BadInput(f"{where}: {name}={shown(value)} must be a list of whole numbers")
            values[name] = tuple(value)
        elif expected == "int" and (isinstance(value, bool) or not isinstance(value, int)):
            raise BadInput(f"{where}: {name}={shown(value)} must be a whole number")
        elif expected == "float":
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
                raise BadInput(f"{where}: {name}={shown(value)} must be a number")
            try:
                values[name] = float(value)
            except OverflowError as error:
                raise BadInput(f"{where}: {name} is too large a number") from error
        elif expected == "bool" and not isinstance(value, bool):
            raise BadInput(f"{where}: {name}={shown(value)} must be true or false")
        elif expected == "str" and not isinstance(value, str):
            raise BadInput(f"{where}: {name}={shown(value)} must be a name")
    return kind(**values)
