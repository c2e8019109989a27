"""The torch module that is exported: a folded detector with its decoding and selection."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from workbench.errors import unknown_name
from zoo.detector import Detector
from zoo.export.options import ExportOptions
from zoo.nms import best_of_all


class Deployed(nn.Module):
    """A folded detector and its decoding; in form ``end2end`` its detections come first."""

    def __init__(self, detector: Detector, form: str) -> None:
        super().__init__()
        self.detector, self.form = detector, form

    def decoded(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes ``[b, n, 4]`` and scores ``[b, n, classes]``."""
        return self.detector.decode(self.detector(image), (image.shape[-2], image.shape[-1]))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        boxes, scores = self.decoded(image)
        if self.form == "end2end":
            return end2end_detections(self.detector, boxes, scores), boxes, scores
        return boxes, scores


class EndToEnd(Deployed):
    """The detections ``[b, k, 6]`` alone."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return super().forward(image)[:1]


def end2end_detections(detector: Detector, boxes: Tensor, scores: Tensor) -> Tensor:
    """The detections ``[b, k, 6]`` of an NMS-free detector."""
    return best_of_all(boxes, scores, detector.selection.max_detections or boxes.shape[1])


def folded_copy(detector: Detector, fp32_layers: Sequence[str] = ()) -> Detector:
    """A folded copy in FP32 on the CPU, without gradients; every name in ``fp32_layers`` must be one of its modules."""
    folded = copy.deepcopy(detector).cpu().float().eval()
    folded.fuse()
    for parameter in folded.parameters():
        parameter.requires_grad_(False)
    for layer in fp32_layers:
        if layer not in module_names(folded):
            raise unknown_name(f"layer of the folded {detector.recipe.model}", layer, module_names(folded))
    return folded


def module_names(detector: Detector) -> set[str]:
    """The names of all modules in a detector."""
    return {name for name, _ in detector.named_modules() if name}


def example_input(options: ExportOptions) -> Tensor:
    """Zeros ``[batch, 3, height, width]`` to trace with."""
    return torch.zeros(options.batch, 3, options.height, options.width)


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """Trace without gradients and without the tracer's warnings; a size that turns constant shows in the gap."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
