"""An exported file as a detector: run by its own runtime, used like the checkpoint that it was made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import BadInput
from zoo.detector import Info
from zoo.export.contract import read_contract
from zoo.export.formats import FORMATS, get_format
from zoo.export.formats.format import Runner
from zoo.export.options import ExportOptions
from zoo.images import Preprocess
from zoo.nms import Detections, Selection, select


def is_exported(path: str | Path) -> bool:
    """Whether a path has the name of an exported file."""
    return any(str(path).lower().endswith(file_format.suffix) for file_format in FORMATS.values())


class ExportedDetector(nn.Module):
    """A file in its runtime; ``predict`` takes any number of images of its size."""

    def __init__(self, contract: dict[str, Any], runner: Runner) -> None:
        super().__init__()
        size, preprocess = contract["input"], contract.get("inside", contract["preprocess"])
        self.size: tuple[int, int] = (size["height"], size["width"])
        """Height and width of the input in pixels."""
        self.info = Info(
            tuple(contract["class_names"]),
            max(self.size),
            contract["provenance"],
            tuple(contract["lineage"]),
            tuple(contract["category_ids"]),
        )
        self.preprocess = Preprocess(
            **{**preprocess, "mean": tuple(preprocess["mean"]), "std": tuple(preprocess["std"])}
        )
        self.selection = Selection(**contract["selection"])
        self.form, self._batch, self._runner = str(contract["form"]), int(size["batch"]), runner

    @torch.no_grad()
    def predict(self, image: Tensor, selection: Selection | None = None) -> list[Detections]:
        """Detections of every image of a preprocessed batch, boxes in input pixels, best first.

        A file that selects detections itself did so by its own ``selection``: a lower score or several classes a box
        cannot be asked of it.
        """
        chosen = selection or self.selection
        if self.form != "decoded":
            self._check(chosen)
        found: list[Detections] = []
        for start in range(0, len(image), self._batch):
            part = image[start : start + self._batch]
            padding = part[-1:].expand(self._batch - len(part), -1, -1, -1)
            outputs = self._runner(torch.cat([part, padding]).contiguous())
            if self.form == "decoded":
                found += select(outputs["boxes"], outputs["scores"], chosen)[: len(part)]
            else:
                found += [_above(rows, chosen.score_threshold) for rows in outputs["detections"][: len(part)]]
        return found

    def _check(self, chosen: Selection) -> None:
        own = self.selection
        same = dataclasses.replace(chosen, score_threshold=own.score_threshold) == own
        # End to end, every box is given whatever its score, and there is no other rule.
        if self.form == "nms" and (chosen.score_threshold < own.score_threshold or not same):
            way_out = "export it without --nms, or use the checkpoint"
            multi = "--multi-label" if own.multi_label else "no --multi-label"
            raise BadInput(
                f"this file selects detections itself, from score {own.score_threshold:g} up, with {multi}: {way_out}"
            )


def open_exported_detector(path: str | Path, input_px: int | None = None) -> ExportedDetector:
    """Load a file that ``nas export`` wrote, by the contract beside it; with ``input_px`` only if that is its side."""
    file = Path(path)
    contract = read_contract(file)
    try:
        size, precision = contract["input"], contract["precision"]["weights"]
        _check_size(file, (size["height"], size["width"]), input_px)
        options = ExportOptions(
            contract["form"], size["height"], size["width"], size["batch"], size["dynamic"],
            half=precision == "FP16", int8=precision == "INT8",
        )  # fmt: skip
        file_format = get_format(contract["format"])
        file_format.require()
        return ExportedDetector(contract, file_format.open(file, options))
    except (KeyError, TypeError) as error:
        raise BadInput(f"the contract of {str(path)!r} lacks {error}: export it again") from error


def _check_size(file: Path, size: tuple[int, int], input_px: int | None) -> None:
    """Raise ``BadInput`` for a file whose input is no square of the side asked for."""
    if size[0] != size[1] or input_px not in (None, size[0]):
        raise BadInput(f"{file.name!r} was exported for {size[0]} x {size[1]} pixels, and images are fed as squares: "
                       "export it at the side that you want")  # fmt: skip


def _above(rows: Tensor, score: float) -> Detections:
    """The rows ``[k, 6]`` above a score as detections, best first."""
    rows = rows[rows[:, 4] > score]
    rows = rows[rows[:, 4].sort(descending=True, stable=True).indices]
    return Detections(rows[:, :4], rows[:, 4], rows[:, 5].long())
