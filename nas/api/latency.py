"""``nas.latency``: latency predicted from device profiles, with an interval, by part and by layer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from nas.api.arguments import Text, names_of, png_path, texts_of
from nas.devices.find_network import find_network
from nas.devices.prediction import LatencyPrediction, LatencyResult, predict_latencies
from nas.devices.profile import load_device_in
from workbench.files import write_atomic


def latency(
    models: Text | Sequence[Text], device: str | Sequence[str], *, precision: str | None = None,
    input_px: int | None = None, png: Text | None = None,
) -> LatencyResult:  # fmt: skip
    """Predict latency on devices that are not here, by part and by layer, each with a 90 % interval.

    Args:
        models: models of the zoo, architecture YAMLs, run folders, checkpoints, graph JSONs or ONNX files.
        device: names or files of latency profiles.
        precision: take the profile of the same hardware and runtime in this precision (``INT8``); None takes the one
            named. An INT8 profile comes with a forecast of the AP that INT8 costs.
        input_px: side of the square input in pixels; None takes each model's own.
        png: file of a picture to write.
    """
    names, out = names_of(device, "--device"), png_path(png)
    profiles = [load_device_in(name, precision) for name in names]
    result = predict_latencies([find_network(text, input_px) for text in texts_of(models)], profiles)
    if png is None or out is None:
        return result
    from nas.report.latency_plot import latency_png

    bars = {p.name: [_bar(x) for x in result.predictions if x.device == p.name] for p in profiles}
    write_atomic(out, latency_png(bars))
    return dataclasses.replace(result, png=os.fspath(png))


def _bar(prediction: LatencyPrediction) -> Any:
    from nas.report.latency_plot import Bar

    interval = prediction.interval
    layers = [(layer.name, layer.part, layer.ms) for layer in prediction.layers]
    bounds = None if interval is None else (interval.low_ms, interval.high_ms)
    return Bar(prediction.model, prediction.parts_ms, bounds, layers)
