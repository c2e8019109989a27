"""Find objects in images: JSON, and pictures with the boxes drawn.

examples:
  nas predict best.safetensors photo.jpg
  nas predict yolo26n.safetensors photos/ --out found --score 0.4
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.console import Progress
    from zoo.detector import Detector

HELP = "find objects in images with a checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas predict``."""
    parser.add_argument("model", metavar="MODEL", help="one of our checkpoints (.safetensors)")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files and folders of them")
    parser.add_argument("--out", default="predictions", metavar="FOLDER", help="where predictions.json and pictures go (default: %(default)s)")
    parser.add_argument("--score", type=float, default=0.3, help="smallest score to show (default: %(default)s)")
    parser.add_argument("--input", type=int, metavar="PX", help="input side in pixels (default: the model's own)")
    parser.add_argument("--batch", type=int, default=4, help="images a run (default: %(default)s)")
    parser.add_argument("--no-pictures", action="store_true", help="write only the JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--json", action="store_true", help="also print the JSON")


def run(args: argparse.Namespace) -> int:
    """Predict, write, print one line an image. A bad image is refused before anything is predicted or written."""
    from workbench.errors import BadInput, missing_package

    try:
        import PIL  # noqa: F401
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("prediction", error.name, "torch") from error
    import json

    from workbench.console import Progress, print_json
    from workbench.files import write_atomic
    from zoo.images import image_files
    from zoo.resolve import resolve_detector
    from zoo.weights.manifest import INPUT_PX
    from zoo.weights.text import printable

    if not 0 <= args.score < 1:
        raise BadInput(f"--score {args.score} must be from 0 up to, not including, 1")
    if args.batch < 1:
        raise BadInput(f"--batch {args.batch} must be at least 1")
    if args.input is not None and args.input not in INPUT_PX:
        raise BadInput(f"--input {args.input} must be a multiple of {INPUT_PX.step} from {INPUT_PX.start} to {INPUT_PX[-1]}")
    files, out = image_files(args.images), Path(args.out)
    pictures = {} if args.no_pictures else _picture_names(files, out)
    detector, trained = resolve_detector(args.model)
    if not trained:
        raise BadInput(f"{args.model!r} has no weights: give a checkpoint (.safetensors); official weights come in with nas zoo import FILE")
    progress = Progress(args.quiet or args.json)
    try:
        found = _predict_all(args, detector, files, pictures, progress)
    finally:
        progress.done()
    report = {
        "model": args.model, "input_px": args.input or detector.info.input_px, "score": args.score,
        "boxes": "x1, y1, x2, y2 in pixels of the image", "images": found,
    }  # fmt: skip
    write_atomic(out / "predictions.json", json.dumps(report, indent=2) + "\n")
    if args.json:
        print_json(report)
        return 0
    for one_image in found:
        counts: dict[str, int] = {}
        for thing in one_image["objects"]:
            counts[thing["label"]] = counts.get(thing["label"], 0) + 1
        print(f"{printable(one_image['image'])}: " + (", ".join(f"{n} {label}" for label, n in counts.items()) or "nothing"))
    print(f"wrote {printable(str(out / 'predictions.json'))}" + ("" if args.no_pictures else f" and {len(found)} picture{'s' * (len(found) > 1)}"))
    return 0


def _predict_all(
    args: argparse.Namespace, detector: Detector, files: Sequence[Path], pictures: Mapping[Path, str], progress: Progress
) -> list[dict[str, Any]]:
    """What was found in every image, in the layout of predictions.json; pictures are written on the way."""
    import dataclasses

    from workbench.files import replacing
    from zoo.draw import draw
    from zoo.images import prepare, read_image

    for n, file in enumerate(files, 1):  # a second of reading, against a run of minutes that fails at its last image
        read_image(file)
        if n % 100 == 0:
            progress.show(f"{n} of {len(files)} images read")
    detector.fuse()
    selection = dataclasses.replace(detector.selection, score_threshold=args.score)
    names, found = detector.info.class_names, []
    for start in range(0, len(files), args.batch):
        part = files[start : start + args.batch]
        images = [read_image(file) for file in part]
        batch, placements = prepare(images, args.input or detector.info.input_px, detector.preprocess)
        for file, image, placement, one in zip(part, images, placements, detector.predict(batch, selection), strict=True):
            boxes = placement.to_image(one.boxes)
            rows = zip(boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
            objects = [{"label": names[label], "class": label, "score": round(score, 4), "box": [round(v, 1) for v in box]} for box, score, label in rows]
            if pictures:
                with replacing(Path(args.out) / pictures[file]) as temporary:
                    draw(image, boxes, one.scores, one.labels, names).save(temporary)
            found.append({"image": str(file), "width": image.shape[1], "height": image.shape[0], "picture": pictures.get(file), "objects": objects})
            progress.show(f"{len(found)} of {len(files)} images", force=len(found) == len(files))
    return found


def _picture_names(files: Sequence[Path], out: Path) -> dict[Path, str]:
    """A file name in the output folder for every image; equal names from different folders are numbered."""
    from workbench.errors import BadInput

    used: set[str] = set()
    names = {}
    for file in files:
        name, n = f"{file.stem}.png", 1
        while name in used:
            n += 1
            name = f"{file.stem}-{n}.png"
        used.add(name)
        names[file] = name
    given = {file.resolve() for file in files}
    for name in used:
        if (out / name).resolve() in given:
            raise BadInput(f"picture {str(out / name)!r} would overwrite an image that was given: choose another --out, or --no-pictures")
    return names
