"""``nas.predict``: detections in images, with pictures that show the boxes."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.api.arguments import Text, names_of, text_of, texts_of
from nas.api.prediction_files import FORMS, check_forms, expanded
from workbench.console import Progress
from workbench.errors import BadInput, missing_package, unknown_name
from workbench.files import replacing, write_atomic
from workbench.tables import Result, Table

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo.detector import Detector
    from zoo.export.exported import ExportedDetector
    from zoo.nms import Selection

SHOWN_IMAGES, SHOWN_PX = 8, 800
"""A notebook shows that many images, their longer side no longer than that."""
BOX_FORM = "x1, y1, x2, y2 in pixels of the image"


@dataclass(frozen=True)
class Detection:
    """One detected object; ``box`` is x1, y1, x2, y2 in pixels of the image."""

    label: str
    class_index: int
    score: float
    box: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As in ``predictions.json``: scores to four decimals, boxes to tenths of a pixel."""
        box = [round(side, 1) for side in self.box]
        return {"label": self.label, "class": self.class_index, "score": round(self.score, 4), "box": box}


@dataclass(frozen=True)
class ImagePrediction(Result):
    """The detections of one image, highest score first."""

    image: str
    """Path of the image."""
    width: int
    height: int
    objects: tuple[Detection, ...]
    class_names: tuple[str, ...]
    picture: str | None = None
    """Name of the picture with boxes in the output folder."""

    def only(self, classes: frozenset[str]) -> ImagePrediction:
        """The same with the objects of some classes alone."""
        return dataclasses.replace(self, objects=tuple(one for one in self.objects if one.label in classes))

    def to_table(self) -> Table:
        """One row an object."""
        rows = [[detection.label, detection.score, *detection.box] for detection in self.objects]
        return Table(["class", "score", "x1", "y1", "x2", "y2"], rows)

    def to_dict(self) -> dict[str, Any]:
        """As in ``predictions.json``."""
        return {
            "image": self.image, "width": self.width, "height": self.height, "picture": self.picture,
            "objects": [detection.to_dict() for detection in self.objects],
        }  # fmt: skip

    def __str__(self) -> str:
        """Number of objects by class."""
        from zoo.weights.text import printable

        counts: dict[str, int] = {}
        for detection in self.objects:
            counts[detection.label] = counts.get(detection.label, 0) + 1
        return f"{printable(self.image)}: " + (", ".join(f"{n} {label}" for label, n in counts.items()) or "nothing")

    def draw(self) -> Image:
        """The image with boxes, classes and scores drawn on it."""
        import numpy as np

        from zoo.draw import draw
        from zoo.images import read_image

        boxes = np.array([detection.box for detection in self.objects]).reshape(-1, 4)
        scores = [detection.score for detection in self.objects]
        labels = [detection.class_index for detection in self.objects]
        return draw(read_image(self.image), boxes, scores, labels, self.class_names)

    def _repr_html_(self) -> str:
        image = self.draw()
        image.thumbnail((SHOWN_PX, SHOWN_PX))
        file = io.BytesIO()
        image.save(file, "PNG")
        data = base64.b64encode(file.getvalue()).decode()
        caption = escape(f"{Path(self.image).name}: {len(self.objects)} objects")
        picture = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


@dataclass(frozen=True)
class PredictResult(Result):
    """Detections image by image; ``len``, indices and iteration are those of the images."""

    images: tuple[ImagePrediction, ...]
    model: str
    input_px: int
    score: float
    out: str | None = None
    """Folder that was written."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> ImagePrediction:
        return self.images[at]

    def __iter__(self) -> Iterator[ImagePrediction]:
        return iter(self.images)

    def to_table(self) -> Table:
        """One row an object."""
        rows = [[image.image, *row] for image in self.images for row in image.to_table().rows]
        return Table(["image", "class", "score", "x1", "y1", "x2", "y2"], rows)

    def to_dict(self) -> dict[str, Any]:
        """What ``predictions.json`` holds and ``nas predict --json`` prints."""
        return {
            "model": self.model, "input_px": self.input_px, "score": self.score, "boxes": BOX_FORM,
            "images": [image.to_dict() for image in self.images],
        }  # fmt: skip

    def __str__(self) -> str:
        """One line an image, and what was written."""
        from zoo.weights.text import printable

        lines = [str(image) for image in self.images]
        if self.out is not None:
            pictures = sum(image.picture is not None for image in self.images)
            more = f" and {pictures} picture{'s' * (pictures > 1)}" if pictures else ""
            lines.append(f"wrote {printable(str(Path(self.out) / 'predictions.json'))}{more}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        shown = "".join(image._repr_html_() for image in self.images[:SHOWN_IMAGES])
        left = len(self.images) - SHOWN_IMAGES
        return shown + (f"<p>{left} more images</p>" if left > 0 else "")


def predict(
    model: Text, images: Text | Sequence[Text], *, out: Text | None = None, score: float = 0.3,
    iou: float | None = None, max: int | None = None, classes: str | Sequence[str] | None = None,
    input_px: int | None = None, batch: int = 4, branch: str | None = None, multi_label: bool = False,
    pictures: bool = True, save: str | Sequence[str] = (), quiet: bool = False,
) -> PredictResult:  # fmt: skip
    """Detect objects in images with a checkpoint. A bad image is refused before anything is predicted or written.

    Args:
        model: a checkpoint, or a file of ``nas export``, which its own runtime runs.
        images: image files, folders of them, and patterns such as ``"photos/**/*.jpg"``.
        out: folder for ``predictions.json`` and pictures; None writes nothing.
        score: smallest score to keep.
        iou: IoU from which the lower of two boxes of a class is dropped; None takes the model's own.
        max: detections an image at most; None takes the model's own.
        classes: names of the classes to keep, a sequence or separated by commas; None keeps all.
        input_px: side of the square input in pixels; None takes the model's own.
        batch: images a run.
        branch: of a head that has two: ``one_to_one`` or ``one_to_many``; None takes the model's own.
        multi_label: report every class of a box above ``score``, as evaluations do, instead of its best class alone.
        pictures: write images with boxes to ``out``.
        save: further forms of the detections to write to ``out``: ``coco``, ``yolo``, ``csv``.
    """
    try:
        import PIL  # noqa: F401
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("prediction", error.name, "torch") from error
    from zoo.images import image_files

    _check(score, batch)
    forms = check_forms(names_of(save, "--save") if save else [], out)
    files = image_files(expanded(texts_of(images)))
    names = _picture_names(files, Path(out)) if out is not None and pictures else {}
    detector = _predictor(text_of(model), branch, input_px)
    side = input_px or detector.info.input_px
    selection = _selection(detector.selection, score, iou, max, multi_label)
    kept = _kept_classes(classes, detector.info.class_names)
    progress = Progress(quiet)
    try:
        predicted = _predict_all(detector, files, selection, side, batch, progress.show)
        if kept is not None:
            predicted = [image.only(kept) for image in predicted]
        if names:
            predicted = [_with_picture(image, Path(text_of(out or "")), names) for image in predicted]
    finally:
        progress.done()
    result = PredictResult(tuple(predicted), text_of(model), side, score, None if out is None else text_of(out))
    if out is not None:
        write_atomic(Path(out) / "predictions.json", json.dumps(result.to_dict(), indent=2) + "\n")
        for form in forms:
            FORMS[form](result.images, Path(out))
    return result


def _selection(
    own: Selection, score: float, iou: float | None, most: int | None, multi_label: bool
) -> Selection:
    """The model's own selection with what is asked for."""
    if iou is not None and own.iou_threshold is None:
        raise BadInput(f"--iou {iou:g}: this model is end-to-end and drops no overlapping boxes; leave it out")
    if iou is not None and not 0 < iou <= 1:
        raise BadInput(f"--iou {iou:g} must be above 0 and at most 1")
    if most is not None and most < 1:
        raise BadInput(f"--max {most} must be at least 1")
    changes = {"iou_threshold": iou, "max_detections": most}
    chosen: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(own, score_threshold=score, multi_label=multi_label, **chosen)


def _kept_classes(classes: str | Sequence[str] | None, names: Sequence[str]) -> frozenset[str] | None:
    """The classes to keep; None keeps all."""
    if classes is None:
        return None
    chosen = names_of(classes, "--classes")
    for name in chosen:
        if name not in names:
            raise unknown_name("class of the model", name, names)
    return frozenset(chosen)


def _predictor(model: str, branch: str | None, input_px: int | None) -> Detector | ExportedDetector:
    """The detector of a checkpoint, folded, or an exported file in its runtime."""
    from zoo.export.exported import is_exported, open_exported_detector
    from zoo.resolve import resolve_detector

    if is_exported(model):
        if branch is not None:
            raise BadInput("--branch is chosen when a file is exported: use the checkpoint")
        return open_exported_detector(model, input_px)
    detector, trained = resolve_detector(model)
    if not trained:
        raise BadInput(f"{model!r} has no weights: give a checkpoint (.safetensors); "
                       "official weights are imported with nas zoo import FILE")  # fmt: skip
    if branch:
        detector.choose_branch(branch)
    _check_side(input_px, detector.strides[-1])
    return detector.fuse()


def _check(score: float, batch: int) -> None:
    if not 0 <= score < 1:
        raise BadInput(f"--score {score} must be from 0 up to, not including, 1")
    if batch < 1:
        raise BadInput(f"--batch {batch} must be at least 1")


def _check_side(input_px: int | None, stride: int) -> None:
    """Refuse a side that no checkpoint may have; ``stride`` is the detector's coarsest."""
    from zoo.weights.manifest import input_sides

    sides = input_sides(stride)
    if input_px is not None and input_px not in sides:
        allowed = f"a multiple of {sides.step} from {sides.start} to {sides.stop - 1}"
        raise BadInput(f"--input {input_px} must be {allowed}")


def _predict_all(
    detector: Detector | ExportedDetector, files: Sequence[Path], selection: Selection, side: int, batch: int,
    show: Callable[..., None],
) -> list[ImagePrediction]:  # fmt: skip
    """The detections of every image; all images are read once before the first batch."""
    from zoo.images import prepare, read_image

    for n, file in enumerate(files, 1):  # a second of reading, against a run of minutes that fails at its last image
        read_image(file)
        if n % 100 == 0:
            show(f"{n} of {len(files)} images read")
    names, predicted = tuple(detector.info.class_names), []
    for start in range(0, len(files), batch):
        part = files[start : start + batch]
        images = [read_image(file) for file in part]
        inputs, placements = prepare(images, side, detector.preprocess)
        for file, image, placement, found in zip(
            part, images, placements, detector.predict(inputs, selection), strict=True
        ):
            boxes = placement.to_image(found.boxes).tolist()
            rows = zip(boxes, found.scores.tolist(), found.labels.tolist(), strict=True)
            objects = tuple(Detection(names[label], label, score, tuple(box)) for box, score, label in rows)
            predicted.append(ImagePrediction(str(file), image.shape[1], image.shape[0], objects, names))
            show(f"{len(predicted)} of {len(files)} images", force=len(predicted) == len(files))
    return predicted


def _with_picture(prediction: ImagePrediction, out: Path, names: Mapping[Path, str]) -> ImagePrediction:
    """The same with its picture written."""
    name = names[Path(prediction.image)]
    with replacing(out / name) as temporary:
        prediction.draw().save(temporary)
    return dataclasses.replace(prediction, picture=name)


def _picture_names(files: Sequence[Path], out: Path) -> dict[Path, str]:
    """A file name in the output folder for every image; equal names from different folders are numbered."""
    used: set[str] = set()
    names = {}
    for file in files:
        name, n = f"{file.stem}.png", 1
        while name in used:
            n += 1
            name = f"{file.stem}-{n}.png"
        used.add(name)
        names[file] = name
    inputs = {file.resolve() for file in files}
    for name in used:
        if (out / name).resolve() in inputs:
            way_out = "choose another --out, or --no-pictures"
            raise BadInput(f"picture {str(out / name)!r} would overwrite an image that was given: {way_out}")
    return names
