"""The layers that must be in FP32 for the gap of an FP16 file to close."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from distill.data.dataset import DataSet
from distill.verify.comparison import decode, image_batches, largest_gap
from distill.verify.minimal_subset import minimal_subset
from zoo.detector import Detector
from zoo.export.measure import SCENES, batch_gaps
from zoo.export.options import ExportOptions
from zoo.export.precision_trials import PrecisionTrials
from zoo.export.scenes import prepared_scenes

if TYPE_CHECKING:
    from distill.verify.check import FileCheck

TRIAL_IMAGES = 8
"""Images of a trial: those on which the gap was largest."""
MAX_TRIALS = 96


class LayerSearch:
    """Searches for a minimal set of FP32 layers on the images on which the gap is largest.

    ``trials`` counts the networks run; ``note`` says why no layers were found.
    """

    def __init__(
        self,
        detector: Detector,
        format_name: str,
        options: ExportOptions,
        data: DataSet,
        first: FileCheck,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._detector, self._options, self._log = detector, options, log
        log("tracing for the search")
        self._networks = PrecisionTrials(detector, format_name, options)
        self.layers = self._networks.layers
        hardest = sorted(first.comparison.hardest[:TRIAL_IMAGES])
        images = [batch.image for batch in image_batches(detector, data, hardest, options)]
        if not first.file.within_tolerance:
            runs = math.ceil(SCENES / options.batch)
            images += prepared_scenes(detector, options.batch, options.height, options.width, runs)
        self._first_gap = max(largest_gap(first.file.gaps), first.comparison.largest_gap)
        self._cases = [(image, decode(detector, image)) for image in images]
        self.trials = 0
        self.note = ""

    def minimal_layers(self) -> tuple[str, ...]:
        """As few layers as close the gap; none, with the reason in ``note``, if no set of layers does."""
        gap = self._gap(())
        if gap <= self._options.allowed < self._first_gap:
            self.note = (
                f"the same network exported again has a gap of no more than {gap:.1e}: was the file changed after it "
                "was written?"
            )
            return ()
        fp32_gap = self._gap(self.layers)
        # If the gap was within the tolerance and AP was not, the gap must halve, whatever it was.
        goal = self._options.allowed if gap > self._options.allowed else gap / 2
        if not fp32_gap <= goal or fp32_gap == gap:
            self.note = (
                f"with every layer in FP32 the gap is still {fp32_gap:.1e} (with none, {gap:.1e}): more precision does "
                "not close it"
            )
            return ()
        return minimal_subset(self.layers, lambda layers: self._gap(layers) <= goal, MAX_TRIALS)

    def _gap(self, fp32_layers: Sequence[str]) -> float:
        """The largest gap with these layers in FP32."""
        runner = self._networks.runner((*self._options.fp32_layers, *fp32_layers))
        gap = max(
            largest_gap(batch_gaps(self._detector, decoded, runner(image), max(image.shape[-2:]), self._options))
            for image, decoded in self._cases
        )
        self.trials += 1
        layers = f"{len(fp32_layers)} of {len(self.layers)} layers in FP32"
        self._log(f"trial {self.trials} of at most {MAX_TRIALS + 2}: {layers}, gap {gap:.1e}")
        return gap
