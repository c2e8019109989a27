"""Find objects in images: JSON, and pictures with the boxes drawn.

examples:
  nas predict best.safetensors photo.jpg
  nas predict yolo26n.safetensors photos/ --out found --score 0.4
"""

from __future__ import annotations

import argparse

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
    """Predict, write, print one line an image."""
    import dataclasses
    import json
    from pathlib import Path

    from nas.console import Progress, print_json
    from nas.resolve import resolve_detector
    from search_spaces.errors import BadInput
    from search_spaces.files import replacing, write_atomic
    from zoo.images import draw, image_files, prepare, read_image

    files = image_files(args.images)
    if not 0 <= args.score < 1:
        raise BadInput(f"--score {args.score} must be from 0 up to, not including, 1")
    if args.batch < 1:
        raise BadInput(f"--batch {args.batch} must be at least 1")
    detector, trained = resolve_detector(args.model)
    if not trained:
        raise BadInput(f"{args.model!r} has no weights: give a checkpoint (.safetensors); official weights come in with nas zoo import FILE")
    px = args.input or detector.info.input_px
    if px < 64 or px % 32:
        raise BadInput(f"--input {px} must be a multiple of 32 from 64 up")
    detector.fuse()
    selection = dataclasses.replace(detector.selection, score_threshold=args.score)
    names, out = detector.info.class_names, Path(args.out)
    taken = _picture_names(files)
    progress, found = Progress(args.quiet or args.json), []
    for start in range(0, len(files), args.batch):
        part = files[start : start + args.batch]
        images = [read_image(file) for file in part]
        batch, placements = prepare(images, px, detector.preprocess)
        for file, image, placement, one in zip(part, images, placements, detector.predict(batch, selection), strict=True):
            boxes = placement.to_image(one.boxes)
            rows = zip(boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
            objects = [{"label": names[label], "class": label, "score": round(score, 4), "box": [round(v, 1) for v in box]} for box, score, label in rows]
            found.append({"image": str(file), "width": image.shape[1], "height": image.shape[0], "objects": objects})
            if not args.no_pictures:
                with replacing(out / taken[file]) as temporary:
                    draw(image, boxes, one.scores, one.labels, names).save(temporary)
            progress.show(f"{len(found)} of {len(files)} images", force=len(found) == len(files))
    progress.done()
    report = {"model": args.model, "input_px": px, "score": args.score, "boxes": "x1, y1, x2, y2 in pixels of the image", "images": found}
    write_atomic(out / "predictions.json", json.dumps(report, indent=2) + "\n")
    if args.json:
        print_json(report)
        return 0
    for one_image in found:
        counts: dict[str, int] = {}
        for thing in one_image["objects"]:
            counts[thing["label"]] = counts.get(thing["label"], 0) + 1
        print(f"{one_image['image']}: " + (", ".join(f"{n} {label}" for label, n in counts.items()) or "nothing"))
    print(f"wrote {out}/predictions.json" + ("" if args.no_pictures else " and a picture an image"))
    return 0


def _picture_names(files: list) -> dict:
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
    return names
