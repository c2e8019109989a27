"""INT8 export by calibration, with as few layers in FP32 as keep the loss of AP within a limit.

Layers are ordered by what each alone does to the outputs in INT8. The shortest list of the most sensitive ones with
which AP on the data holds is found by bisection, and the file is written with these in FP32.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.data.dataset import DataSet
from distill.train.detect import check_classes
from distill.verify.calibration import Calibration
from distill.verify.check import FileCheck, check_file
from distill.verify.comparison import file_ap
from distill.verify.verified_export import VerifiedExport
from workbench.errors import BadInput
from zoo.detector import Detector
from zoo.export.calibrated import calibrated
from zoo.export.check import check_options
from zoo.export.formats import get_format
from zoo.export.formats.format import Calibrated
from zoo.export.options import ExportOptions
from zoo.export.sensitivity import layer_sensitivities
from zoo.export.write import ExportedFile, export

MAX_DROP = 0.005
"""Largest loss of AP that passes by default: 0.5 AP, as AP is usually written."""
SENSITIVITY_BATCHES = 4
"""Batches on which the layers are ordered."""

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Int8Job:
    """What is exported in INT8: the network, its calibrated graph and where the file goes."""

    detector: Detector
    network: Calibrated
    path: str
    format_name: str
    options: ExportOptions

    def write(self, layers: Sequence[str], log: Log) -> tuple[ExportedFile, ExportOptions]:
        """The file with ``layers`` in FP32, and its options."""
        options = dataclasses.replace(self.options, fp32_layers=(*self.options.fp32_layers, *layers))
        graph = self.network.graph(options.fp32_layers)
        return export(self.detector, self.path, self.format_name, options, log, graph), options

    def check(self, layers: Sequence[str], data: DataSet, max_drop: float, log: Log) -> FileCheck:
        """Write the file with ``layers`` in FP32 and check it on ``data``."""
        file, options = self.write(layers, log)
        return check_file(self.detector, file, self.format_name, options, data, max_drop, log)

    def trial_ap(self, layers: Sequence[str], data: DataSet) -> float:
        """AP on ``data`` with ``layers`` in FP32; no file is kept."""
        file_format = get_format(self.format_name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ("trial" + file_format.suffix)
            graph = self.network.graph((*self.options.fp32_layers, *layers))
            file_format.write(self.network.folded, path, self.options, graph)
            return file_ap(self.detector, file_format.open(path, self.options), self.options, data)


def prepare_int8(
    detector: Detector, path: str, format_name: str, options: ExportOptions, calibration: Calibration,
    log: Log = lambda text: None,
) -> Int8Job:  # fmt: skip
    """Trace and calibrate a detector."""
    options = dataclasses.replace(options, calibration=str(calibration))
    # The file is only opened for writing later: its options are refused before the calibration runs.
    get_format(format_name).require()
    check_options(detector, format_name, options)
    images = calibration.batches(detector, options)
    network = calibrated(detector, format_name, options, images, calibration.ranges, log)
    return Int8Job(detector, network, path, format_name, options)


def export_int8_verified(
    job: Int8Job, calibration: Calibration, data: DataSet, max_drop: float = MAX_DROP, log: Log = lambda text: None
) -> VerifiedExport:
    """Write the INT8 file; if it loses more AP on ``data`` than ``max_drop``, with the fewest layers in FP32."""
    check_classes(job.detector, data)
    if not len(data):
        raise BadInput(f"split {data.name!r} of {data.root} has no pictures: there is nothing to verify on")
    if not 0 <= max_drop < math.inf:
        raise BadInput(f"--max-drop {max_drop} must be a number from 0 up, such as 0.5AP or 0.005")
    first = job.check((), data, max_drop, log)
    if not first.reasons or not first.ap_is_informative:
        return VerifiedExport(first, first)
    log("ordering the layers by sensitivity")
    batches = calibration.batches(job.detector, job.options)[:SENSITIVITY_BATCHES]
    errors = layer_sensitivities(job.network.folded, job.network.layers, batches)
    order = sorted(job.network.layers, key=lambda layer: -errors[layer])
    count, trials = _fewest(job, order, data, (first.comparison.torch.summary["ap"] or 0.0) - max_drop, log)
    # In the order of computation, as the user would write them.
    layers = tuple(layer for layer in job.network.layers if layer in set(order[:count]))
    check = job.check(layers, data, max_drop, log)
    note = ""
    if check.reasons:
        note = f"with {count} of {len(order)} layers in FP32 the loss is still too large: calibrate on other images"
    return VerifiedExport(check, first, layers, trials, note)


def _fewest(job: Int8Job, order: Sequence[str], data: DataSet, least_ap: float, log: Log) -> tuple[int, int]:
    """How many of the first layers of ``order`` must be in FP32 for AP ``least_ap``, and the number of trials."""
    enough, too_few, trials = len(order), 0, 0
    while enough - too_few > 1:
        # The answer is small more often than large: 1, 2, 4, ... until there are enough, then halves.
        count = (too_few + enough) // 2 if enough < len(order) else min(max(1, 2 * too_few), enough - 1)
        ap = job.trial_ap(order[:count], data)
        trials += 1
        log(f"trial {trials}: {count} of {len(order)} layers in FP32, AP {ap:.4f} (at least {least_ap:.4f})")
        if ap >= least_ap:
            enough = count
        else:
            too_few = count
    return enough, trials
