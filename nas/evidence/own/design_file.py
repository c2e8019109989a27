"""Read a design: a YAML file that lists factors, whose levels change a base architecture, or whole architectures.

A factor has named levels, the first of which is the reference. A level says what it ``set``s and what it multiplies
(``times``), each by the path of a field, such as ``stages.out``: one value for all stages or levels, or a list with one
for each. Widths are those before an architecture is scaled to its latency; inner channels of stages are given as
``btn_ratio``, their ratio to ``out``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from workbench.checks import check_int, check_number
from workbench.doors.bytes import read_text
from workbench.doors.yaml import MOST_BYTES, parse_yaml
from workbench.errors import BadInput, unknown_name

FACTOR_FIELDS = {"name", "doc", "count", "channels", "bands_ms", "scales", "families", "base", "factors"}
LIST_FIELDS = {"name", "doc", "architectures"}
PATHS = {
    "style", "act", "spp", "stem.out", "stem.k", "stem.focus", "stages.kind", "stages.out", "stages.btn_ratio",
    "stages.k", "stages.depth", "neck.out", "neck.depth", "neck.hidden_ratio", "neck.act", "neck.depthwise",
    "head.reg_max", "head.k",
}  # fmt: skip
"""Fields of the base that levels may change."""
SCALES = (1 / 16, 16.0)
"""Default smallest and largest factor of all widths."""
LISTS = {"stages": "stages", "neck.out": "levels of the neck"}
"""Fields that have one value a stage or a level."""


@dataclass(frozen=True)
class Level:
    """One level of a factor: values by path that it sets, and numbers by path that it multiplies."""

    sets: Mapping[str, Any]
    times: Mapping[str, Any]


@dataclass(frozen=True)
class Design:
    """Factors with their levels over a base, or ``architectures`` that are taken as they are."""

    name: str
    doc: str
    digest: str
    """Of everything that the architectures follow from."""
    count: int
    """Architectures unless the command says otherwise."""
    channel_step: int = 4
    bands_ms: tuple[float, ...] = ()
    scales: tuple[float, float] = SCALES
    """Smallest and largest factor of all widths that may bring an architecture to its band."""
    families: str = ""
    """The factor whose levels are the families."""
    base: Mapping[str, Any] | None = None
    factors: Mapping[str, Mapping[str, Level]] | None = None
    architectures: tuple[Architecture, ...] = ()


def design_names() -> list[str]:
    """Designs that ship."""
    files = resources.files("nas.evidence.own.designs").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_design(name_or_path: str) -> Design:
    """A shipped design by name, or a YAML file."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return read_design(read_text(path, "design", MOST_BYTES), name_or_path)
    if name_or_path not in design_names():
        raise unknown_name("design", name_or_path, design_names())
    text = resources.files("nas.evidence.own.designs").joinpath(f"{name_or_path}.yaml").read_text(encoding="utf-8")
    return read_design(text, f"{name_or_path}.yaml")


def read_design(text: str, where: str) -> Design:
    """The design that YAML ``text`` describes; ``where`` stands in error texts."""
    data = parse_yaml(text, where)
    if not isinstance(data, dict):
        raise BadInput(f"{where}: a design must be a mapping with 'name' and 'factors' or 'architectures'")
    known = LIST_FIELDS if "architectures" in data else FACTOR_FIELDS
    for key in data:
        if key not in known:
            raise unknown_name(f"field in {where}", str(key), known)
    for key in sorted(known - {"doc", "count", "scales"}):
        if key not in data:
            raise BadInput(f"{where}: field {key!r} is missing")
    name, doc = str(data["name"]), str(data.get("doc", "")).strip()
    content = {key: value for key, value in data.items() if key not in ("doc", "count")}
    digest = hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:12]
    if "architectures" in data:
        listed = _architectures(data["architectures"], where)
        return Design(name, doc, digest, len(listed), architectures=listed)
    factors = _factors(data["factors"], where)
    base = _base(data["base"], where)
    design = Design(
        name, doc, digest, data.get("count", 48), data["channels"], _bands(data["bands_ms"], where),
        _scales(data.get("scales", list(SCALES)), where), str(data["families"]), base, factors,
    )  # fmt: skip
    check_int(f"{where}: count", design.count, 2)
    check_int(f"{where}: channels", design.channel_step, 1, 1024)
    if design.families not in factors:
        raise unknown_name(f"factor under 'families' in {where}", design.families, factors)
    return design


def _bands(data: Any, where: str) -> tuple[float, ...]:
    if not isinstance(data, list) or not data:
        raise BadInput(f"{where}: bands_ms must list latencies in ms, for instance [4, 6]")
    for value in data:
        check_number(f"{where}: bands_ms", value, 0.0, 1e6, above=True)
    return tuple(float(value) for value in data)


def _scales(data: Any, where: str) -> tuple[float, float]:
    if not isinstance(data, list) or len(data) != 2:
        raise BadInput(f"{where}: scales must be a pair, the smallest and largest factor of widths, not {data!r:.40}")
    low, high = (check_number(f"{where}: scales", value, 0.0, 1e3, above=True) for value in data)
    if low >= high:
        raise BadInput(f"{where}: scales {data}: the first must be less than the second")
    return low, high


def _architectures(data: Any, where: str) -> tuple[Architecture, ...]:
    if not isinstance(data, list) or len(data) < 2:
        raise BadInput(f"{where}: architectures must list two or more: one has no rank")
    found = tuple(Architecture.from_dict(item, f"{where}: architectures[{at}]") for at, item in enumerate(data))
    for at, arch in enumerate(found):
        if arch.neck is None:
            raise BadInput(f"{where}: architectures[{at}] is a bare backbone: give it a neck and a head")
        if not arch.name or arch.name in (other.name for other in found[:at]):
            raise BadInput(f"{where}: architectures[{at}] needs a name of its own, not {arch.name!r}")
    return found


def _base(data: Any, where: str) -> Mapping[str, Any]:
    """The base as written; what it lacks or has too much of is found when it is built."""
    needed = {"style", "stem", "stages", "neck", "head"}
    missing = sorted(needed - set(data)) if isinstance(data, dict) else sorted(needed)
    if missing:
        raise BadInput(f"{where}: base lacks {missing[0]!r}")
    stages = data["stages"]
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages) or not stages:
        raise BadInput(f"{where}: base: stages must list mappings with kind, out, btn_ratio, k, stride and depth")
    for at, stage in enumerate(stages):
        for key in ("kind", "out", "btn_ratio", "stride"):
            if key not in stage:
                raise BadInput(f"{where}: base: stages[{at}] lacks {key!r}")
    for part in ("stem", "neck", "head"):
        if not isinstance(data[part], dict):
            raise BadInput(f"{where}: base: {part} must be a mapping, not {data[part]!r}")
    if "out" not in data["stem"] or "out" not in data["neck"]:
        raise BadInput(f"{where}: base: stem and neck need 'out', their channels")
    return dict(data)


def _factors(data: Any, where: str) -> dict[str, dict[str, Level]]:
    if not isinstance(data, dict) or not data:
        raise BadInput(f"{where}: factors must be a mapping from names to levels")
    factors: dict[str, dict[str, Level]] = {}
    set_by: dict[str, str] = {}
    for factor, levels in data.items():
        if not isinstance(levels, dict) or len(levels) < 2:
            raise BadInput(f"{where}: factor {factor!r} must have two or more named levels")
        factors[str(factor)] = {
            str(name): _level(level, f"{where}: level {name!r} of factor {factor!r}") for name, level in levels.items()
        }
        for path in {path for level in factors[str(factor)].values() for path in level.sets}:
            if path in set_by:
                raise BadInput(f"{where}: {path} is set by the factors {set_by[path]!r} and {factor!r}: only one may")
            set_by[path] = str(factor)
    return factors


def _level(data: Any, where: str) -> Level:
    if not isinstance(data, dict) or set(data) - {"set", "times"}:
        raise BadInput(f"{where} must be a mapping with 'set', 'times', both or nothing, not {data!r:.60}")
    sets, times = data.get("set", {}), data.get("times", {})
    for part in (sets, times):
        if not isinstance(part, dict):
            raise BadInput(f"{where}: {part!r:.60} must be a mapping from fields such as stages.out")
        for path in part:
            if path not in PATHS:
                raise unknown_name(f"field in {where}", str(path), PATHS)
    for path, value in times.items():
        for number in value if isinstance(value, list) else [value]:
            check_number(f"{where}: times {path}", number, 0.0, 1e3, above=True)
    return Level(sets, times)
