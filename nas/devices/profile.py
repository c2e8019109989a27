"""DeviceProfile: the latency model of one device, read from a YAML file.

Time is counted in whole ticks (``resolution_us``, far below any timer's resolution), so that a
sum over ops does not depend on its order and an exact search can compare integers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nas.devices.model import LatencyModel
from search_spaces.graph import Graph
from search_spaces.op_table import OpTable
from search_spaces.ops import DECODE_PART
from workbench.doors.yaml import read_yaml, yaml_text
from workbench.errors import BadInput, unknown_name

SHIPPED = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class DeviceProfile:
    """A device, runtime and precision, with a latency model and its error on data it was not fitted to."""

    name: str
    hardware: str
    runtime: str
    precision: str
    batch: int
    resolution_us: float
    model: LatencyModel
    fixed_ms: float
    """Milliseconds of every network whatever its ops are: launch, input, output and box decoding."""
    fitted_on: str = ""
    points: int = 0
    error: Mapping[str, Any] = field(default_factory=dict)
    """``mape_percent``, ``mape_percent_without_attention``, ``kendall_tau``: each family left out in turn."""
    command: str = ""
    protocol: str = ""
    """Whose level the profile predicts, of those in ``sources``."""
    sources: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Level of each source that the profile was fitted to: ``points``, ``factor`` on the time of the ops and
    ``fixed_ms`` in its place (``nas.devices.levels``). Empty where there was one source."""
    reference_ms: float = 0.0
    """Milliseconds of the reference network at the speed of the machine that the profile describes; 0: not measured."""

    @property
    def tick_ms(self) -> float:
        """Milliseconds of one tick."""
        return self.resolution_us / 1000.0

    @property
    def fixed_ticks(self) -> int:
        """The fixed time in ticks."""
        return round(self.fixed_ms / self.tick_ms)

    def op_ticks(self, table: OpTable) -> np.ndarray:
        """Whole ticks of one occurrence of each op, int64, ``[ops]`` or ``[ops, N]``; decoding counts none."""
        ticks = np.rint(self.model.op_ms(table) / self.tick_ms).astype(np.int64)
        for row, part in enumerate(table.parts):
            if part == DECODE_PART:
                ticks[row] = 0
        return ticks

    def total_ticks(self, table: OpTable) -> Any:
        """Ticks of whole networks, fixed time included: an int64, or int64 ``[N]``."""
        count = np.rint(table.count).astype(np.int64)
        return (self.op_ticks(table) * count).sum(axis=0) + self.fixed_ticks

    def latency_ms(self, graph: Graph, input_px: int | tuple[int, int] | None = None) -> float:
        """Milliseconds an image of one network at one input size (pixels): ticks times ``tick_ms``, exactly."""
        return float(self.total_ticks(graph.table(input_px)) * self.tick_ms)

    def parts_ms(self, graph: Graph, input_px: int | tuple[int, int] | None = None) -> dict[str, float]:
        """Milliseconds by part (``op.part``, or ``network`` where an op names none), and ``fixed``."""
        table = graph.table(input_px)
        ticks = self.op_ticks(table) * np.rint(table.count).astype(np.int64)
        sums: dict[str, int] = {}
        for part, value in zip(table.parts, ticks, strict=True):
            if part != DECODE_PART:
                sums[part or "network"] = sums.get(part or "network", 0) + int(value)
        sums["fixed"] = sums.get("fixed", 0) + self.fixed_ticks
        return {part: value * self.tick_ms for part, value in sums.items()}

    def as_measured_by(self, source: str, ms: float) -> float:
        """What a source would measure where the profile predicts ``ms``; ``ms`` itself of one without a level.

        A source that names less than those fitted (``atlas, with host work`` beside ``atlas, with host work and NMS``)
        has their mean level, by points.
        """
        own = [self.sources[source]] if source in self.sources else []
        levels = own or [level for name, level in self.sources.items() if name.startswith(f"{source} ")]
        points = sum(level["points"] for level in levels)
        if not source or not points:
            return ms
        factor, fixed_ms = (sum(x[key] * x["points"] for x in levels) / points for key in ("factor", "fixed_ms"))
        return (ms - self.fixed_ms) * factor + fixed_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in the YAML file; a profile of one source has no ``protocol`` and no ``sources``."""
        data = {
            "name": self.name, "hardware": self.hardware, "runtime": self.runtime, "precision": self.precision,
            "batch": self.batch, "resolution_us": self.resolution_us, "fixed_ms": self.fixed_ms,
            "model": self.model.to_dict(), "fitted_on": self.fitted_on, "points": self.points,
            "error": dict(self.error), "command": self.command,
        }  # fmt: skip
        if self.reference_ms:
            data["reference_ms"] = self.reference_ms
        if self.sources:
            data |= {"protocol": self.protocol, "sources": {name: dict(level) for name, level in self.sources.items()}}
        return data

    def to_yaml(self) -> str:
        """The YAML file of this profile, coefficients at full precision."""
        return yaml_text(self.to_dict(), allow_unicode=True, width=110)


def user_folder() -> Path:
    """Where a user's own profiles live: ``$NAS_DEVICES``, else ``~/.config/nas/devices``."""
    named = os.environ.get("NAS_DEVICES")
    return Path(named).expanduser() if named else Path.home() / ".config" / "nas" / "devices"


def device_files() -> dict[str, Path]:
    """Profile files by device name; a user's own file hides a shipped one of the same name."""
    files: dict[str, Path] = {}
    for folder in (SHIPPED, user_folder()):
        if folder.is_dir():
            files |= {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return dict(sorted(files.items()))


def device_names() -> list[str]:
    """Names ``load_device`` knows."""
    return list(device_files())


def load_device(name_or_path: str | Path) -> DeviceProfile:
    """A profile by name (shipped or the user's) or by the path of its YAML file."""
    text = str(name_or_path)
    files = device_files()
    if text in files:
        return read_profile(files[text])
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or os.sep in text:
        return read_profile(Path(name_or_path))
    raise unknown_name("device", text, files)


def load_device_in(name_or_path: str | Path, precision: str | None) -> DeviceProfile:
    """The profile of a device in a precision: its own, or that of the same hardware and runtime; None takes its own."""
    profile = load_device(name_or_path)
    if precision is None or profile.precision == precision.upper():
        return profile
    same = [other for other in map(load_device, device_names())
            if (other.hardware, other.runtime) == (profile.hardware, profile.runtime)]  # fmt: skip
    found = next((other for other in same if other.precision == precision.upper()), None)
    if found is None:
        known = ", ".join(sorted({profile.precision, *(other.precision for other in same)}))
        raise BadInput(f"--precision {precision}: there is no such profile of {profile.name!r}, only {known}; "
                       "nas devices lists them all, nas devices fit makes one from your times")  # fmt: skip
    return found


def read_profile(path: Path) -> DeviceProfile:
    """Read and check one profile file."""
    data = read_yaml(path, "device profile")
    return profile_from_dict(data, f"device profile {path.name!r}")


def profile_from_dict(data: Any, where: str = "device profile") -> DeviceProfile:
    """Check plain data and make a profile; errors are one line and name field, value and rule."""
    if not isinstance(data, Mapping):
        raise BadInput(f"{where} must be a mapping of fields, not {type(data).__name__}")
    known = DeviceProfile.__dataclass_fields__
    for key in data:
        if key not in known:
            raise BadInput(f"{where}: unknown field {key!r}; a profile has {', '.join(known)}")
    fields: dict[str, Any] = {}
    for key in ("name", "hardware", "runtime", "precision"):
        fields[key] = _text(data, key, where)
    for key in ("fitted_on", "command", "protocol"):
        fields[key] = _text(data, key, where) if data.get(key) else ""
    fields["batch"] = _whole(data, "batch", where, at_least=1)
    fields["points"] = _whole(data, "points", where, at_least=0) if "points" in data else 0
    fields["resolution_us"] = _number(data, "resolution_us", where, above=True)
    fields["fixed_ms"] = _number(data, "fixed_ms", where, above=False)
    fields["reference_ms"] = _number({"reference_ms": 0.0, **data}, "reference_ms", where, above=False)
    coefficients = data.get("model")
    if not isinstance(coefficients, Mapping):
        raise BadInput(f"{where}: field 'model' must map coefficient names to numbers, not {coefficients!r}")
    try:
        fields["model"] = LatencyModel.from_dict(coefficients)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    fields["error"] = _error(data.get("error", {}), where)
    fields["sources"] = _sources(data.get("sources", {}), fields["protocol"], where)
    return DeviceProfile(**fields)


def _sources(data: Any, protocol: str, where: str) -> dict[str, dict[str, float]]:
    if not isinstance(data, Mapping) or not all(isinstance(level, Mapping) for level in data.values()):
        raise BadInput(f"{where}: field 'sources' must map names to points, factor and fixed_ms, not {data!r}")
    if data and protocol not in data:
        raise BadInput(f"{where}: field 'protocol' must be one of the sources {', '.join(data)}, not {protocol!r}")
    levels = {}
    for name, level in data.items():
        here = f"{where}, source {name!r}"
        levels[str(name)] = {
            "points": _whole(level, "points", here, at_least=1),
            "factor": _number(level, "factor", here, above=True),
            "fixed_ms": _number(level, "fixed_ms", here, above=False),
        }
    return levels


def _error(data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise BadInput(f"{where}: field 'error' must map measures to numbers, not {data!r}")
    for key, value in data.items():
        for name, number in value.items() if isinstance(value, Mapping) else [(key, value)]:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
                raise BadInput(f"{where}: error {name!r} = {number!r} must be a finite number")
    return {str(k): dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}


def _text(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{where}: field {key!r} must be a text, not {value!r}")
    return value


def _whole(data: Mapping[str, Any], key: str, where: str, at_least: int) -> int:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise BadInput(f"{where}: field {key!r} must be a whole number of at least {at_least}, not {value!r}")
    return value


def _number(data: Mapping[str, Any], key: str, where: str, above: bool) -> float:
    value = data.get(key)
    good = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not good or value < 0 or (above and value == 0):  # type: ignore[operator]
        rule = "a finite number above 0" if above else "a finite number of at least 0"
        raise BadInput(f"{where}: field {key!r} must be {rule}, not {value!r}")
    return float(value)  # type: ignore[arg-type]
