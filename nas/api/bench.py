"""``nas.bench``: measured latency on this machine, beside the prediction of its profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import nas.devices.bench as devices_bench
from nas.api.arguments import Text, texts_of
from nas.devices.bench import BenchResult
from nas.devices.measured.exchange_file import append_exchange, check_target_file
from nas.devices.measured.measurement import UNNAMED
from nas.devices.profile import load_device
from nas.devices.session import choose_target
from nas.devices.timing import Plan
from workbench.console import Progress


def bench(
    models: Text | Sequence[Text], *, device: str = "cpu", runtime: str | None = None, input_px: int | None = None,
    threads: int | None = None, precision: str = "FP32", seconds: float = 3.0, repeats: int = 3, rounds: int = 8,
    profile: str | None = None, out: Text | None = None, source: str | None = None, quiet: bool = False,
) -> BenchResult:  # fmt: skip
    """Measure networks on this machine in turns, with an interval that holds the median of another run.

    Args:
        models: what ``nas.latency`` takes. Ours run without decoding; an ONNX file runs as it is.
        device: ``cpu`` or ``cuda``.
        runtime: ``onnxruntime``, ``openvino`` or ``torch``; None takes the device's default.
        input_px: side of the square input in pixels; None takes each model's own.
        threads: CPU threads; None takes all CPUs.
        precision: ``FP32``, or ``FP16`` with torch on CUDA.
        seconds: time for each network.
        repeats: least number of runs a round.
        rounds: number of rounds; their spread gives the interval.
        profile: device profile to compare with; None takes this machine's own, if it is calibrated.
        out: file of measurements (``.jsonl``, ``.jsonl.gz``) to append to.
        source: name under which the measurements go into ``out``; None: ``unnamed``.
    """
    file = None if out is None else Path(out)
    check_target_file(file, source)
    texts, plan = texts_of(models), Plan(seconds, repeats, rounds)
    target = choose_target(device, runtime, threads, precision)
    compared = load_device(profile) if profile else None
    progress = Progress(quiet)
    try:
        result = devices_bench.bench(texts, target, plan, input_px, compared, progress.show)
    finally:
        progress.done()
    if file is None:
        return result
    append_exchange(file, result.measurements(source or UNNAMED))
    return dataclasses.replace(result, file=file)
