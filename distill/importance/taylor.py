"""First-order Taylor: the change of the training loss, to first order, when a unit's outputs become zero.

Removing a unit sets its channels to zero wherever they are consumed, which is the same as setting to zero the weights
that multiply them there: axis 1 of the consumers. To first order the loss changes by minus the sum of weight times
gradient over those weights, which equals the sum of activation times gradient at the consumers, whatever norm or
activation lies between (Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", sum over the rows
instead and square). Targets are those assigned to the whole network's outputs and stay fixed.

At the end of a training the changes of different images cancel, so the absolute value is taken of every image alone,
then the mean. The result does not depend on the size of batches; docs/benchmarks/importance.md compares both.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from distill.importance.method import DataImportance
from distill.importance.training_loss import LossBatch, TrainingLoss, finite
from zoo.pruning.groups import ChannelGroups


class Taylor(DataImportance):
    """Absolute first-order change of the loss of an image, the mean over images."""

    about: ClassVar[str] = "first-order change of the training loss on your images when a unit becomes zero"

    def unit_scores(self, loss: TrainingLoss, groups: ChannelGroups, batch: LossBatch) -> np.ndarray:
        """Importance of every unit on ``batch``, float64 ``[groups.count]``."""
        scores = np.zeros(groups.count)
        for single in batch.singles():
            scores += np.abs(first_order_change(loss, groups, single))
        return scores / len(batch)


def first_order_change(loss: TrainingLoss, groups: ChannelGroups, batch: LossBatch) -> np.ndarray:
    """Change of the loss, to first order, when every unit by itself becomes zero, float64 ``[groups.count]``."""
    value = loss(batch)
    finite(value, batch, "the detector")
    parameters = dict(loss.detector.named_parameters())
    consumers = {name: parameters[name] for name, axes in groups.axes.items() if 1 in axes and name in parameters}
    gradients = torch.autograd.grad(value, list(consumers.values()), allow_unused=True)
    change = np.zeros(groups.count)
    for (name, weight), gradient in zip(consumers.items(), gradients, strict=True):
        if gradient is not None:
            products = (weight.detach().double() * gradient.double()).transpose(0, 1).flatten(1).sum(1)
            np.subtract.at(change, groups.axes[name][1], products.cpu().numpy())
    finite(float(change.sum()), batch, "the detector, or a gradient of it,")
    return change
