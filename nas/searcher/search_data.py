"""The data set beside a search, which ignores it: its boxes are counted before, and kept with the results after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.console import Progress
from workbench.doors.json import read_json_object
from workbench.errors import BadInput, missing_package
from workbench.files import write_atomic

if TYPE_CHECKING:
    from distill.data.check.box_levels import BoxLevels

PICTURE = "data.png"


def count_boxes(path: str, input_px: int, strides: Sequence[int], quiet: bool) -> BoxLevels:
    """The boxes of the training split at the levels, of these strides, of a searched detector."""
    try:
        from distill.data.check.box_levels import box_levels
        from zoo.families.damo_yolo import DamoYolo
    except ModuleNotFoundError as error:
        raise missing_package("nas search --data", error.name, "torch") from error
    progress = Progress(quiet)
    try:
        return box_levels(path, input_px, strides, DamoYolo.preprocess.resize, log=progress.show)
    finally:
        progress.done()


def keep_boxes(levels: BoxLevels, folder: Path, picture: bool) -> None:
    """Write the counts to ``data`` in the ``result.json`` of a finished run, and ``data.png`` where there is a box."""
    file = folder / "result.json"
    try:
        result = read_json_object(file, "result")
    except BadInput as error:
        raise BadInput(f"{error}: search again with --fresh") from error
    write_atomic(file, json.dumps({**result, "data": levels.to_dict()}, indent=1, allow_nan=False))
    if picture and levels.boxes:
        from nas.report.box_levels_plot import box_levels_png

        write_atomic(folder / PICTURE, box_levels_png(levels))
