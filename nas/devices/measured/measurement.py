"""One measurement as it is exchanged: a network on a device, in a runtime, by a protocol; to JSON and back.

Every field says what was measured and how. None of them says on whose machine: no host name, user name or path is kept,
and fields that are not listed here are refused.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.checks import check_int, check_number
from workbench.errors import BadInput

SCHEMA = 1
"""Version of the lines that are written, and the only one that is read."""
UNNAMED = "unnamed"
"""Source of a sender who chose no name."""
NOT_STATED = "not stated"
PROCESSORS = ("cpu", "gpu", "npu", "")
MOST_PX, MOST_BATCH, MOST_ROUNDS, MOST_RUNS = 16384, 4096, 10_000, 10**9


def counted(number: int, what: str) -> str:
    """A number with its noun: ``1 thread``, ``2 threads``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Device:
    """The hardware: its name, the kind of processor, cores in use, and what is known of clock and power mode."""

    hardware: str = NOT_STATED
    processor: str = ""
    """``cpu``, ``gpu`` or ``npu``; empty where it is not stated."""
    cores: int | None = None
    clock_mhz: float | None = None
    """Highest clock of the first core."""
    power_mode: str = ""


@dataclass(frozen=True)
class Runtime:
    """The runtime with its version, and how it was set."""

    name: str = NOT_STATED
    version: str = ""
    precision: str = ""
    threads: int | None = None

    def text(self, processor: str = "") -> str:
        """For instance ``ONNX Runtime 1.27.0, 2 threads``, as profiles name it."""
        text = f"{self.name} {self.version}".strip()
        if processor == "cpu" and self.threads is not None:
            return f"{text}, {counted(self.threads, 'thread')}"
        return f"{text}, CUDA" if processor == "gpu" and self.threads is not None else text


@dataclass(frozen=True)
class Protocol:
    """How the time was taken; None and empty texts where that is not stated."""

    statistic: str = NOT_STATED
    """What ``ms`` is of the single runs, such as ``median of the rounds' medians``."""
    host_work: bool | None = None
    """Whether reading images, pre-processing, NMS or other work of the host is in the time."""
    decoding: bool | None = None
    """Whether box decoding is in the time."""
    warm_up_runs: int | None = None
    repeats: int | None = None
    """Least number of runs a round."""
    rounds: int | None = None
    seconds: float | None = None
    """Time for the network over all rounds."""

    def text(self) -> str:
        """One line for tables and profiles."""
        words = {True: "with", False: "without"}
        parts = [self.statistic]
        parts += [f"{words[self.host_work]} host work"] if self.host_work is not None else []
        parts += [f"{words[self.decoding]} decoding"] if self.decoding is not None else []
        return "; ".join(parts)


@dataclass(frozen=True)
class Measurement:
    """Milliseconds an image of one network at one input size, with everything that is known of how they came about."""

    network: str
    """``network_hash`` of its graph."""
    name: str
    ms: float
    input_px: tuple[int, int]
    """(height, width)."""
    family: str = ""
    batch: int | None = 1
    """Images a run; None where that is not stated."""
    device: Device = field(default_factory=Device)
    runtime: Runtime = field(default_factory=Runtime)
    protocol: Protocol = field(default_factory=Protocol)
    interval_ms: tuple[float, float] | None = None
    """95 % interval of the ``ms`` of another measurement of the same kind."""
    p95_ms: float | None = None
    runs: int | None = None
    rounds_ms: tuple[float, ...] = ()
    """One median a round, in the order of time."""
    warnings: tuple[str, ...] = ()
    date: str = ""
    """Day, ``YYYY-MM-DD``."""
    tool: str = ""
    source: str = UNNAMED
    """Who measured or published it, by a name of their own choice."""
    cite: str = ""
    """Where a published figure stands."""

    def setting(self) -> tuple[Any, ...]:
        """What two measurements must share for their times to be comparable, besides the network and its size."""
        runtime = self.runtime
        return (self.device.hardware, runtime.name, runtime.precision, runtime.threads, self.batch or 1)

    def to_json(self) -> dict[str, Any]:
        """Plain data of one line."""
        return {"record": "measurement", "schema": SCHEMA, **_rounded(dataclasses.asdict(self))}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Measurement:
        """Read one line; an error names the field and the rule."""
        fields = {name: value for name, value in data.items() if name not in ("record", "schema")}
        _refuse_unknown(Measurement, fields, "")
        for name in ("network", "name", "ms", "input_px"):
            if name not in fields:
                raise BadInput(f"field {name!r} is missing")
        if not isinstance(fields["network"], str) or not re.fullmatch(r"[0-9a-f]{8,64}", fields["network"]):
            raise BadInput("field 'network' must be a network's hash, in hexadecimal digits")
        sides = _list(fields["input_px"], "input_px")
        if len(sides) != 2:
            raise BadInput("field 'input_px' must be [height, width]")
        if fields.get("batch", 1) is not None:
            check_int("batch", fields.get("batch", 1), 1, MOST_BATCH)
        height, width = (check_int("input_px", side, 1, MOST_PX) for side in sides)
        return Measurement(
            **{name: _text(fields, name) for name in _TEXTS if name in fields},
            ms=check_number("ms", fields["ms"], above=True),
            input_px=(height, width),
            batch=fields.get("batch", 1),
            device=_device(fields.get("device", {})),
            runtime=_runtime(fields.get("runtime", {})),
            protocol=_protocol(fields.get("protocol", {})),
            interval_ms=_interval(fields.get("interval_ms")),
            p95_ms=_optional_number(fields, "p95_ms"),
            runs=_optional_int(fields, "runs", MOST_RUNS),
            rounds_ms=_times(fields.get("rounds_ms", []), "rounds_ms"),
            warnings=tuple(_text({"warnings": w}, "warnings") for w in _list(fields.get("warnings", []), "warnings")),
            date=_date(fields.get("date", "")),
        )


def _rounded(value: Any) -> Any:
    """Plain data with floats of nine digits: a picosecond of a millisecond."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value


_TEXTS = ("network", "name", "family", "tool", "source", "cite")


def _refuse_unknown(kind: type, fields: Mapping[str, Any], inside: str) -> None:
    known = [entry.name for entry in dataclasses.fields(kind)]
    for name in fields:
        if name not in known:
            where = f" of {inside!r}" if inside else ""
            raise BadInput(f"field {name!r}{where} is not one of schema {SCHEMA}: remove it; known: {', '.join(known)}")


def _object(value: Any, name: str, kind: type) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInput(f"field {name!r} must be an object")
    _refuse_unknown(kind, value, name)
    return value


def _device(value: Any) -> Device:
    data = _object(value, "device", Device)
    processor = _text(data, "processor") if "processor" in data else ""
    if processor not in PROCESSORS:
        raise BadInput(f"field 'processor' must be one of cpu, gpu, npu or empty, not {processor!r}")
    return Device(
        hardware=_text(data, "hardware") if "hardware" in data else NOT_STATED,
        processor=processor,
        cores=_optional_int(data, "cores", 1_000_000),
        clock_mhz=_optional_number(data, "clock_mhz"),
        power_mode=_text(data, "power_mode") if "power_mode" in data else "",
    )


def _runtime(value: Any) -> Runtime:
    data = _object(value, "runtime", Runtime)
    texts = {name: _text(data, name) for name in ("name", "version", "precision") if name in data}
    return Runtime(**texts, threads=_optional_int(data, "threads", 1_000_000))


def _protocol(value: Any) -> Protocol:
    data = _object(value, "protocol", Protocol)
    return Protocol(
        statistic=_text(data, "statistic") if "statistic" in data else NOT_STATED,
        host_work=_optional_bool(data, "host_work"),
        decoding=_optional_bool(data, "decoding"),
        warm_up_runs=_optional_int(data, "warm_up_runs", MOST_RUNS, least=0),
        repeats=_optional_int(data, "repeats", MOST_RUNS),
        rounds=_optional_int(data, "rounds", MOST_ROUNDS),
        seconds=_optional_number(data, "seconds"),
    )


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data[name]
    if not isinstance(value, str) or (name in ("name", "source") and not value.strip()):
        raise BadInput(f"field {name!r} must be a text{' that is not empty' if value == '' else ''}")
    return value


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise BadInput(f"field {name!r} must be a list")
    return value


def _times(value: Any, name: str) -> tuple[float, ...]:
    times = _list(value, name)
    if len(times) > MOST_ROUNDS:
        raise BadInput(f"field {name!r} has {len(times)} values: {MOST_ROUNDS} at most")
    return tuple(check_number(name, ms, above=True) for ms in times)


def _interval(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    times = _times(value, "interval_ms")
    if len(times) != 2 or times[0] > times[1]:
        raise BadInput("field 'interval_ms' must be [low, high]")
    return times[0], times[1]


def _optional_number(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    return None if value is None else check_number(name, value, above=True)


def _optional_int(data: Mapping[str, Any], name: str, most: int, least: int = 1) -> int | None:
    value = data.get(name)
    return None if value is None else check_int(name, value, least, most)


def _optional_bool(data: Mapping[str, Any], name: str) -> bool | None:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadInput(f"field {name!r} must be true, false or null")
    return value


def _date(value: Any) -> str:
    if value == "":
        return ""
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except (TypeError, ValueError) as error:
        raise BadInput("field 'date' must be a day, YYYY-MM-DD") from error
