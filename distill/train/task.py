"""What is trained: a task turns a batch into named losses. The loop knows nothing else of a model."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from distill.data.feed.views import Origin
from distill.train.ema import ModelEma
from zoo.detector import Detector, Raw
from zoo.learning.targets import Phase, Targets


class Task(nn.Module, abc.ABC):
    """Holds the detector to train, and modules that are trained with it. Its parameters are what the optimizer sees."""

    detector: Detector
    remark: str = ""
    """What to know of the task before training, in lines."""

    @abc.abstractmethod
    def losses(self, image: Tensor, targets: Targets, phase: Phase, origin: Origin | None = None) -> dict[str, Tensor]:
        """Named losses of a batch ``[b, 3, h, w]``, each a weighted mean over its images.

        ``origin`` says which views of which pictures these are, where views repeat.
        """

    def follow(self, average: ModelEma) -> None:
        """Receive the detector's moving average before the first step."""

    def settle(self) -> None:
        """Write to the disk what the task keeps outside of its state. Called before the state is written."""


class SupervisedTask(Task):
    """The detector's own loss on true boxes."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def losses(self, image: Tensor, targets: Targets, phase: Phase, origin: Origin | None = None) -> dict[str, Tensor]:
        return own_losses(self.detector, self.detector.features(image), image, targets, phase)[1]


def own_losses(
    detector: Detector, features: list[Tensor], image: Tensor, targets: Targets, phase: Phase
) -> tuple[Raw, dict[str, Tensor]]:
    """The head's raw outputs for ``features``, and the detector's own losses as means over the images of the batch."""
    raw = detector.training_raw(features, targets)
    losses = detector.loss(raw, targets, (image.shape[-2], image.shape[-1]), phase)
    if detector.loss_counts_images:
        return raw, {name: value / len(targets) for name, value in losses.items()}
    return raw, losses
