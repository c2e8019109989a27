"""A profile of the machine at hand: measure a designed set of networks, fit, and foretell networks not fitted.

The set has small chains of one kind of op each (convolutions over kernel, channels, size, stride and groups; products,
pools, joins, activations) and random detectors of the shipped spaces. It is measured in a seeded random order, in
passes over the whole set, so that a drift of the machine hits every kind alike and every figure has a second one to be
held against. Each figure goes to a journal the moment it is there: a killed calibration goes on where it stood.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.latency.runtimes import Network, Target, open_network
from nas.latency.timing import Clock, turn_of, warm_up
from search_spaces.errors import BadInput
from search_spaces.files import write_atomic
from search_spaces.graph import Graph, GraphBuilder, Op

if TYPE_CHECKING:
    from nas.latency.fit import Measured
    from nas.latency.profile import DeviceProfile

DESIGN = 1
"""Changes whenever the designed set does: a journal of another one is not gone on with."""
CHAINS, DETECTORS, STRANGERS = 240, 36, 12
"""Designed chains and random detectors that are fitted; random detectors that judge the fit."""
MOST_MACS = 2e8
"""Of a chain: a few milliseconds on a laptop core."""
MOST_MOVED = 2e7
LEAST_MACS, LEAST_MOVED = 3e6, 3e5
"""Multiply-accumulates, and numbers read and written. Below both, a chain would tell of the start of a run alone."""
MOST_DETECTOR_MACS = 1.5e9
SIDES = (160, 224, 320, 416, 512, 640)
"""Input sides of the random detectors that are fitted, pixels."""
JUDGE_PX = 320
ZOO_JUDGES = ("yolox-nano", "yolo11n", "yolo26n")
"""Strangers of other families, where torch is there to build them."""
TURN_S, TURN_RUNS = 0.08, 3
"""One visit to one network: so long, and at least so many runs."""
MOST_PASSES = 4
MEASURING_SHARE = 0.85
"""Of the time that was asked for; the rest is for the fit."""
FEWEST_CHAINS, FEWEST_STRANGERS = 60, 6
MOST_NOISE_PERCENT = 25.0
"""Networks measured twice may differ by so much on average; above it, no fit means anything."""
MOST_FAILED = 0.2


@dataclass(frozen=True)
class Task:
    """One network of the set: what it is called, its kind, whether it judges, and how to make it."""

    name: str
    kind: str
    judges: bool
    make: Callable[[], Network]


@dataclass(frozen=True)
class Visit:
    """Median time of one network in one pass, milliseconds."""

    task: str
    number: int
    ms: float
    runs: int


@dataclass(frozen=True)
class Judged:
    """A network that was not fitted: measured and foretold, milliseconds."""

    name: str
    kind: str
    measured_ms: float
    predicted_ms: float

    @property
    def percent(self) -> float:
        """Error in percent of the measured figure; positive = foretold too slow."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)


@dataclass(frozen=True)
class Outcome:
    """What a calibration found. ``noise_percent`` is by how much a network differs from itself, on average."""

    profile: DeviceProfile
    path: Path
    judged: tuple[Judged, ...]
    noise_percent: float
    measured: int
    failed: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def noise_rules(self) -> bool:
        """Whether the figures scatter more than the forecasts miss: the noise is then the error that is stored."""
        return self.noise_percent > statistics.fmean(abs(one.percent) for one in self.judged)


# The designed set


def designed_chains(count: int, seed: int) -> list[Graph]:
    """``count`` small graphs of known size, kinds in turn, everything else drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, (_, weight) in DESIGNS.items() for _ in range(weight)]
    order = [kind for _ in range(-(-count // len(kinds))) for kind in rng.permutation(kinds)]
    return [_draw(str(kind), i, rng) for i, kind in enumerate(order[:count])]


def _draw(kind: str, number: int, rng: np.random.Generator) -> Graph:
    """One chain within the limit on multiply-accumulates; drawn again until it is."""
    while True:
        px = int(rng.choice([5, 7, 10, 13, 20, 26, 40, 52, 80, 104, 160, 208, 320]))
        draw = _Draw(rng, px)
        graph = DESIGNS[kind][0](draw)
        if graph is None:
            continue
        whole = Graph(graph.ops, [(int(graph.inputs[0][0]), px, px)], graph.outputs, f"{kind}-{number:03d}")
        table = whole.table()
        macs, moved = float(table.total(table.macs)), float(table.total(table.in_elems + table.out_elems))
        if macs <= MOST_MACS and moved <= MOST_MOVED and (macs >= LEAST_MACS or moved >= LEAST_MOVED):
            return whole


@dataclass(frozen=True)
class _Draw:
    """Random choices for one chain at one side in pixels."""

    rng: np.random.Generator
    px: int

    def one(self, *values: Any) -> Any:
        """One of the values."""
        return values[int(self.rng.integers(len(values)))]

    def channels(self, low: int = 8, high: int = 640) -> int:
        """Channels, evenly in their logarithm; mostly multiples of 8, as networks have them, some not."""
        value = math.exp(self.rng.uniform(math.log(low), math.log(high)))
        step = self.one(8, 8, 8, 16, 16, 4)
        return max(step, round(value / step) * step)

    def act(self) -> str:
        """An activation, none among them."""
        return str(self.one("none", "relu", "silu", "silu", "relu", "hardswish", "leakyrelu", "sigmoid"))

    def start(self, channels: int) -> GraphBuilder:
        """A builder for an image-like input of so many channels."""
        return GraphBuilder(channels, part="")


def _dense(d: _Draw) -> Graph:
    a, b, k, act = d.channels(), d.channels(), d.one(1, 1, 3, 3, 5), d.act()
    g = d.start(a)
    x = -1
    for i in range(d.one(2, 4, 6)):
        x = g.conv(x, b if i % 2 == 0 else a, k=k, act=act)
    return g.finish([x])


def _strided(d: _Draw) -> Graph:
    a, k, act = d.channels(8, 256), d.one(1, 3, 3, 5), d.act()
    g = d.start(a)
    x = -1
    for _ in range(2 if d.px >= 20 else 1):
        x = g.conv(x, d.channels(), k=k, s=2, act=act)
    return g.finish([g.conv(x, d.channels(), act=act)])


def _stem(d: _Draw) -> Graph | None:
    if d.px < 104:
        return None
    g, act = d.start(d.one(3, 3, 12)), d.act()
    x = g.conv(-1, d.channels(16, 64), k=d.one(3, 3, 6, 7) // 2 * 2 + 1, s=d.one(1, 2, 2), act=act)
    return g.finish([g.conv(x, d.channels(16, 64), k=3, s=2, act=act)])


def _depthwise(d: _Draw) -> Graph:
    c, k, act = d.channels(16), d.one(3, 3, 5, 5, 7), d.act()
    g = d.start(c)
    x = -1
    for i in range(d.one(2, 4)):
        x = g.conv(x, c, k=k, s=2 if i == 0 and d.px >= 20 and d.one(0, 1) else 1, g=c, act=act)
    return g.finish([x])


def _separable(d: _Draw) -> Graph:
    c, inner, k, act = d.channels(16, 320), d.channels(16), d.one(3, 5, 7), d.act()
    g = d.start(c)
    x = -1
    for _ in range(d.one(1, 2, 3)):
        y = g.conv(x, inner, act=act)
        y = g.conv(y, inner, k=k, g=inner, act=act)
        x = g.join("add", g.conv(y, c, act="none"), x) if x >= 0 else g.conv(y, c)
    return g.finish([x])


def _grouped(d: _Draw) -> Graph:
    groups = d.one(2, 4, 8)
    c = -(-d.channels(32) // (8 * groups)) * 8 * groups
    g, act, k = d.start(c), d.act(), d.one(1, 3, 3)
    x = -1
    for _ in range(d.one(2, 3)):
        x = g.conv(x, c, k=k, g=groups, act=act)
    return g.finish([x])


def _residual(d: _Draw) -> Graph:
    c, inner, k, act = d.channels(16), d.channels(16), d.one(1, 3, 3, 5), d.act()
    g = d.start(c)
    x = g.conv(-1, c, act=act)
    for _ in range(d.one(1, 2, 3)):
        y = g.join("add", g.conv(g.conv(x, inner, act=act), c, k=k), x)
        x = g.single("act", y, kind=act) if act in ("relu", "silu") else y
    return g.finish([x])


def _split(d: _Draw) -> Graph:
    c, act = 2 * d.channels(16, 256), d.act()
    g = d.start(c)
    x = g.conv(-1, c, act=act)
    half = c // 2
    left, right = g.single("slice", x, "left", half, start=0, end=half), g.single("slice", x, "right", half, start=half, end=c)
    parts = [left, right]
    for _ in range(d.one(1, 2, 3)):
        parts.append(g.conv(parts[-1], half, k=d.one(1, 3), act=act))
    return g.finish([g.conv(g.join("concat", *parts), c, act=act)])


def _pool(d: _Draw) -> Graph:
    c, k = d.channels(16), d.one(3, 5, 9, 13)
    g = d.start(c)
    kind = d.one("maxpool", "maxpool", "maxpool", "avgpool")
    x = g.conv(-1, c)
    parts = [x]
    for _ in range(d.one(1, 3)):
        parts.append(g.single(kind, parts[-1], k=(k, k), s=(1, 1), p=(k // 2, k // 2)))
    if d.px >= 20 and d.one(0, 1):
        return g.finish([g.single(kind, parts[-1], k=(2, 2), s=(2, 2), p=(0, 0))])
    return g.finish([g.conv(g.join("concat", *parts), c)])


def _upsample(d: _Draw) -> Graph | None:
    if d.px > 104:
        return None
    c, act = d.channels(16, 384), d.act()
    g = d.start(c)
    up = g.single("upsample", g.conv(-1, c, act=act), scale=2)
    side = g.single("upsample", g.conv(-1, d.channels(16, 128), act=act), scale=2)
    return g.finish([g.conv(g.join("concat", up, side), c, act=act)])


def _joins(d: _Draw) -> Graph:
    c = d.channels(16)
    g = d.start(c)
    a, b = g.single("act", -1, kind="relu"), g.single("act", -1, kind="sigmoid")
    x = a
    for _ in range(d.one(2, 4)):
        x = g.join(d.one("add", "add", "mul"), x, b)
    return g.finish([g.join("concat", x, a, b) if d.one(0, 1) else x])


def _activations(d: _Draw) -> Graph:
    c, act = d.channels(16), d.one("relu", "silu", "silu", "sigmoid", "hardswish", "leakyrelu", "gelu")
    g = d.start(c)
    x = -1
    for _ in range(d.one(2, 4)):
        x = g.conv(x, c, k=3, g=c, act="none") if d.one(0, 1) else g.single("scale", x, params=1)
        x = g.single("act", x, kind=act)
    return g.finish([x])


def _attention(d: _Draw) -> Graph | None:
    if d.px > 26:
        return None
    heads, width = d.one(1, 2, 4, 8), d.one(16, 32, 64)
    c, n = heads * width, d.px * d.px
    ops: list[Op] = []

    def add(kind: str, *inputs: int, cin: int = 0, **attrs: Any) -> int:
        ops.append(Op(kind, inputs, cin, cin, bias=kind == "conv", name=f"{kind}{len(ops)}", attrs=attrs))
        return len(ops) - 1

    def columns(x: int) -> int:
        return add("reshape", add("conv", x, cin=c), shape=[1, heads, width, n])

    def turned(x: int, *shape: int) -> int:
        return add("transpose", x, perm=[0, 1, 3, 2], shape=[1, heads, *shape])

    q, k, v = turned(columns(-1), n, width), columns(-1), turned(columns(-1), n, width)
    scores = add("softmax", add("matmul", q, k, shape=[1, heads, n, n]), axis=-1)
    mixed = turned(add("matmul", scores, v, shape=[1, heads, n, width]), width, n)
    add("conv", add("reshape", mixed, shape=[1, c, d.px, d.px]), cin=c)
    return Graph(ops, [(c,)], [len(ops) - 1])


def _linear(d: _Draw) -> Graph | None:
    if d.px > 40:
        return None
    c, inner, n = d.channels(32, 320), d.channels(64), d.px * d.px
    act = d.one("relu", "gelu", "silu")
    ops = [
        Op("reshape", (-1,), name="rows", attrs={"shape": [1, c, n]}),
        Op("transpose", (0,), name="turned", attrs={"perm": [0, 2, 1], "shape": [1, n, c]}),
        Op("layernorm", (1,), c, c, name="norm"),
        Op("linear", (2,), c, inner, bias=True, name="up", attrs={"shape": [1, n, inner]}),
        Op("act", (3,), name="act", attrs={"kind": act}),
        Op("linear", (4,), inner, c, bias=True, name="down", attrs={"shape": [1, n, c]}),
        Op("add", (5, 1), name="add"),
    ]
    return Graph(ops, [(c,)], [len(ops) - 1])


def _squeeze(d: _Draw) -> Graph:
    c, act = d.channels(16), d.act()
    g = d.start(c)
    x = g.conv(-1, c, k=3, g=c, act=act)
    gate = g.conv(g.conv(g.single("global_avgpool", x), max(8, c // 4), act="relu"), c, act="sigmoid")
    return g.finish([g.conv(g.join("mul", x, gate), c, act=act)])


DESIGNS: dict[str, tuple[Callable[[_Draw], Graph | None], int]] = {
    "dense": (_dense, 6),
    "strided": (_strided, 2),
    "stem": (_stem, 2),
    "depthwise": (_depthwise, 3),
    "separable": (_separable, 3),
    "grouped": (_grouped, 1),
    "residual": (_residual, 3),
    "split": (_split, 2),
    "pool": (_pool, 2),
    "upsample": (_upsample, 2),
    "joins": (_joins, 1),
    "activations": (_activations, 2),
    "attention": (_attention, 2),
    "linear": (_linear, 1),
    "squeeze": (_squeeze, 1),
}
"""Kinds of chains, and how often each is drawn in a round of all."""


def random_detectors(count: int, seed: int, sides: Sequence[int], most_macs: float, label: str) -> list[tuple[Graph, int]]:
    """Detectors drawn evenly from the shipped spaces in turn, each with an input side (pixels) that keeps it small if one does."""
    from search_spaces.lowering import lower
    from search_spaces.space_file import load_space, space_names

    rng = np.random.default_rng(seed)
    spaces = [load_space(name) for name in space_names()]
    found: list[tuple[Graph, int]] = []
    while len(found) < count:
        space = spaces[len(found) % len(spaces)]
        graph = lower(space.decode(space.sample(1, rng)[0], f"{label}-{space.name}-{len(found):02d}"))
        table = graph.table(640)
        macs = float(table.total(table.macs)) / 640**2
        small = [side for side in sides if macs * side**2 <= most_macs] or [min(sides)]
        found.append((graph, int(rng.choice(small))))
    return found


def tasks(seed: int) -> list[Task]:
    """The whole set, in the order of its first pass."""
    from search_spaces.lowering import lower
    from search_spaces.published import PUBLISHED

    found = [Task(graph.name, graph.name.rpartition("-")[0], False, _maker(graph, None)) for graph in designed_chains(CHAINS, seed)]
    for graph, px in random_detectors(DETECTORS, seed + 1, SIDES, MOST_DETECTOR_MACS, "fit"):
        found.append(Task(graph.name, "detector", False, _maker(graph, (px, px))))
    for graph, px in random_detectors(STRANGERS, seed + 2, (JUDGE_PX,), math.inf, "stranger"):
        found.append(Task(graph.name, "random detector", True, _maker(graph, (px, px))))
    for name in ("damo-yolo-ns", "damo-yolo-t"):
        found.append(Task(name, "damo-yolo", True, _maker(lower(PUBLISHED[name]), (JUDGE_PX, JUDGE_PX))))
    for name in ZOO_JUDGES if _has_torch() else ():
        found.append(Task(name, "zoo", True, _zoo_maker(name)))
    order = np.random.default_rng(seed + 3).permutation(len(found))
    return [found[i] for i in order]


def _maker(graph: Graph, size: tuple[int, int] | None) -> Callable[[], Network]:
    return lambda: Network.of_graph(graph, size)


def _zoo_maker(name: str) -> Callable[[], Network]:
    """A zoo network whose file is exported once: that takes longer than measuring it."""
    kept: list[Network] = []

    def make() -> Network:
        from nas.latency.runtimes import find_network

        if not kept:
            network = find_network(name, JUDGE_PX)
            kept.append(dataclasses.replace(network, onnx=_once(network.onnx)))
        return kept[0]

    return make


def _once(make: Callable[[], bytes]) -> Callable[[], bytes]:
    kept: list[bytes] = []

    def give() -> bytes:
        if not kept:
            kept.append(make())
        return kept[0]

    return give


def _has_torch() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None


# Measuring, with a journal


class Journal:
    """Visits so far, one JSON line each after a header; a torn last line, as a kill leaves it, is cut off."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.visits: list[Visit] = []
        self.failed: dict[str, str] = {}
        self.spent_s = 0.0
        self.resumed = self._read(dict(header))
        if not self.resumed:
            write_atomic(path, json.dumps(dict(header)) + "\n")
        self._lines = path.open("a", encoding="utf-8")

    def _read(self, header: dict[str, Any]) -> bool:
        """Whether the file holds the beginnings of this very calibration, which are then taken over."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise BadInput(f"cannot read {str(self.path)!r}: {error.strerror or error}") from error
        whole = text[: text.rfind(b"\n") + 1]
        try:
            rows = [json.loads(line) for line in whole.decode("utf-8").splitlines()]
        except ValueError:
            return False
        if not rows or rows[0] != header:
            return False
        if len(whole) != len(text):
            write_atomic(self.path, whole)
        for row in rows[1:]:
            self.spent_s = float(row["spent_s"])
            if "failed" in row:
                self.failed[row["task"]] = row["failed"]
            else:
                self.visits.append(Visit(row["task"], row["pass"], row["ms"], row["runs"]))
        return True

    def add(self, visit: Visit, spent_s: float) -> None:
        """One more figure."""
        self.visits.append(visit)
        self._write({"task": visit.task, "pass": visit.number, "ms": visit.ms, "runs": visit.runs, "spent_s": spent_s})

    def fail(self, task: str, reason: str, spent_s: float) -> None:
        """A network that this runtime does not run, and why."""
        self.failed[task] = reason
        self._write({"task": task, "failed": reason, "spent_s": spent_s})

    def _write(self, row: dict[str, Any]) -> None:
        self.spent_s = row["spent_s"]
        try:
            self._lines.write(json.dumps(row) + "\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise BadInput(f"cannot write {str(self.path)!r}: {error.strerror or error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._lines.close()

    def figures(self) -> dict[str, float]:
        """The lowest of every network's visits, ms: what disturbs a measurement only ever adds to it."""
        found: dict[str, float] = {}
        for visit in self.visits:
            found[visit.task] = min(visit.ms, found.get(visit.task, math.inf))
        return found

    def noise_percent(self) -> float:
        """By how much two visits to the same network differ, on average; NaN where nothing was visited twice."""
        by_task: dict[str, list[float]] = {}
        for visit in self.visits:
            by_task.setdefault(visit.task, []).append(visit.ms)
        apart = [abs(math.log(a / b)) for found in by_task.values() for a, b in zip(found, found[1:], strict=False)]
        return 100 * math.expm1(statistics.fmean(apart)) if apart else math.nan


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one calibration at a time writes into a folder; two would disturb each other besides."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise BadInput(f"cannot write into {str(folder)!r}: {error.strerror or error}") from error
    with lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ModuleNotFoundError:
            pass  # not on this system
        except OSError as error:
            raise BadInput(f"another calibration is at work in {str(folder)!r}: wait for it, or choose another --name") from error
        yield


def measure_tasks(
    chosen: Sequence[Task], target: Target, journal: Journal, until_s: float, say: Callable[[str], None], clock: Clock = time.perf_counter_ns
) -> None:
    """Visit networks pass by pass until ``until_s`` seconds are spent, those of earlier sittings included.

    The first pass may take a little more than half of them; later ones visit what the first one did.
    """
    start = time.monotonic() - journal.spent_s
    seen = {(v.task, v.number) for v in journal.visits}
    for number in range(1, MOST_PASSES + 1):
        end = until_s * (0.55 if number == 1 else 1.0)
        first = {task for task, n in seen if n == 1}
        due = [t for t in chosen if t.name not in journal.failed and (number == 1 or t.name in first)]
        order = due if number == 1 else [due[i] for i in np.random.default_rng(number).permutation(len(due))]
        for done, task in enumerate(order):
            spent = time.monotonic() - start
            if spent > end:
                break
            if (task.name, number) in seen:
                continue
            say(f"pass {number}: {done + 1} of {len(order)} networks, {spent:.0f} of {until_s:.0f} s")
            try:
                session = open_network(task.make(), target)
            except BadInput as error:
                journal.fail(task.name, str(error), time.monotonic() - start)
                if len(journal.failed) > MOST_FAILED * len(chosen):
                    raise BadInput(f"{len(journal.failed)} of {len(chosen)} networks cannot be run here; the last one: {error}") from error
                continue
            warm_up(session, clock, most_s=2 * TURN_S)
            times = turn_of(session, TURN_S, TURN_RUNS, clock)
            del session
            journal.add(Visit(task.name, number, statistics.median(times), len(times)), time.monotonic() - start)
            seen.add((task.name, number))


# Fit and judgement


def calibrate(
    target: Target, name: str, folder: Path, minutes: float = 5.0, seed: int = 0, command: str = "",
    say: Callable[[str], None] = lambda text: None, clock: Clock = time.perf_counter_ns,
) -> Outcome:  # fmt: skip
    """Measure, fit, judge, and write ``folder/name.yaml`` with the measurements in ``folder/name.measured/`` beside it."""
    from nas.latency.profile import SHIPPED

    if not name or not all(c.isalnum() or c in "._-" for c in name) or name.startswith("."):
        raise BadInput(f"name {name!r} must be letters, digits, '-', '_' and '.'")
    if (SHIPPED / f"{name}.yaml").exists():
        raise BadInput(f"name {name!r} is a profile that ships with the workbench: choose another with --name")
    if not math.isfinite(minutes) or not 0 < minutes <= 600:
        raise BadInput(f"minutes {minutes!r} must be above 0 and at most 600")
    start = time.monotonic()
    chosen = tasks(seed)
    data = folder / f"{name}.measured"
    header = {"design": DESIGN, "seed": seed, "hardware": target.hardware(), "runtime": target.describe(), "precision": target.precision}
    with _alone(data):
        journal = Journal(data / "journal.jsonl", header)
        before = journal.spent_s
        if journal.resumed and journal.visits:
            say(f"goes on after {len(journal.visits)} measurements of an interrupted calibration")
        try:
            measure_tasks(chosen, target, journal, 60 * minutes * MEASURING_SHARE, say, clock)
        finally:
            journal.close()
        say("fitting")
        profile, judged, noise = fit_and_judge(chosen, journal, target, name, minutes, command)
        path = folder / f"{name}.yaml"
        _keep(data, chosen, journal)
        write_atomic(path, profile.to_yaml())
        # Measured to the end: the next calibration begins anew.
        journal.path.unlink()
    failed = tuple(journal.failed.items())
    return Outcome(profile, path, tuple(judged), noise, len(journal.figures()), failed, before + time.monotonic() - start)


def fit_and_judge(
    chosen: Sequence[Task], journal: Journal, target: Target, name: str, minutes: float, command: str
) -> tuple[DeviceProfile, list[Judged], float]:
    """The profile, the networks it was judged on, and the noise in percent; refuses what the figures cannot carry."""
    figures = journal.figures()
    fitted = [t for t in chosen if not t.judges and t.name in figures]
    judges = [t for t in chosen if t.judges and t.name in figures]
    if len(fitted) < FEWEST_CHAINS or len(judges) < FEWEST_STRANGERS:
        raise BadInput(
            f"{minutes:g} minutes were enough for {len(fitted)} networks to fit and {len(judges)} to judge by, at least {FEWEST_CHAINS} and "
            f"{FEWEST_STRANGERS} are needed: the same command with more --minutes goes on from here"
        )
    noise = journal.noise_percent()
    if not math.isfinite(noise):
        raise BadInput(f"{minutes:g} minutes were not enough to measure anything twice: the same command with more --minutes goes on from here")
    if noise > MOST_NOISE_PERCENT:
        journal.path.unlink()
        raise BadInput(
            f"this machine is too noisy to calibrate: the same network differs from itself by {noise:.0f} % on average, at most {MOST_NOISE_PERCENT:g} % is allowed; "
            "end other programs and begin again"
        )
    points = [_point(task, figures[task.name]) for task in fitted]
    model, fixed_ms = _fit_model(points, target)
    from nas.latency.fit import predict_ms

    strangers = [_point(task, figures[task.name]) for task in judges]
    found = predict_ms(model, fixed_ms, strangers)
    judged = [Judged(t.name, t.kind, figures[t.name], float(ms)) for t, ms in zip(judges, found, strict=True)]
    in_sample = predict_ms(model, fixed_ms, points)
    inner = statistics.fmean(abs(100 * (float(ms) / p.ms - 1)) for ms, p in zip(in_sample, points, strict=True))
    return _profile(model, fixed_ms, target, name, len(points), judged, noise, inner, command), judged, noise


def _point(task: Task, ms: float) -> Measured:
    from nas.latency.fit import Measured, _costed

    network = task.make()
    return Measured(task.name, task.kind, network.size[0], ms, network.graph, _costed(network.graph.table(network.table_px)))


def _fit_model(points: Sequence[Measured], target: Target) -> tuple[Any, float]:
    from nas.latency.fit import ELEMENT_BYTES, _fit

    size = ELEMENT_BYTES[target.precision]
    return _fit(points, {"channel_pad": 16.0 if size == 2.0 else 1.0, "element_bytes": size})


def _profile(
    model: Any, fixed_ms: float, target: Target, name: str, points: int, judged: Sequence[Judged], noise: float, inner: float, command: str
) -> DeviceProfile:
    """The profile; its error is that on networks it did not see, or the noise where that is larger."""
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    from nas.latency.profile import DeviceProfile

    mape = statistics.fmean(abs(one.percent) for one in judged)
    tau = float(kendalltau([one.predicted_ms for one in judged], [one.measured_ms for one in judged]).statistic)
    kinds = dict.fromkeys(one.kind for one in judged)
    error: dict[str, Any] = {"mape_percent": round(max(mape, noise), 3)}
    if math.isfinite(tau):
        error["kendall_tau"] = round(tau, 4)
    error |= {
        "judged_mape_percent": round(mape, 3), "noise_percent": round(noise, 3), "fitted_mape_percent": round(inner, 3),
        "mape_percent_by_family": {k: round(statistics.fmean(abs(one.percent) for one in judged if one.kind == k), 3) for k in kinds},
        "percent_by_network": {one.name: round(one.percent, 3) for one in judged},
    }  # fmt: skip
    return DeviceProfile(
        name=name, hardware=target.hardware(), runtime=target.describe(), precision=target.precision, batch=1, resolution_us=0.1,
        model=model, fixed_ms=fixed_ms, points=points, error=error, command=command,
        fitted_on=f"{points} designed chains and random detectors measured on this machine; errors on {len(judged)} networks not fitted",
    )  # fmt: skip


def _keep(data: Path, chosen: Sequence[Task], journal: Journal) -> None:
    """The measurements in the layout that ``nas devices fit`` reads: ``latency.csv`` and ``graphs.jsonl.gz``."""
    figures = journal.figures()
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["model", "family", "input_px", "fitted", "measured_ms"])
    lines = []
    for task in sorted(chosen, key=lambda t: t.name):
        if task.name in figures:
            network = task.make()
            rows.writerow([task.name, task.kind, network.size[0], "no" if task.judges else "yes", f"{figures[task.name]:.6f}"])
            lines.append(json.dumps(network.graph.to_json() | {"name": task.name}))
    write_atomic(data / "graphs.jsonl.gz", gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    write_atomic(data / "latency.csv", table.getvalue())
