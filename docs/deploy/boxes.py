"""What every program here does beside the network: prepare a picture, and choose boxes. It needs NumPy and Pillow."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SCORE = 0.3  # smallest score, as `nas predict` has it


def read_contract(path):
    """The contract that `nas export` wrote beside an exported file."""
    contract = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    if "layout" in contract:
        raise SystemExit("these programs read files of --layout nas, the default of nas export")
    return contract


def read_picture(path):
    """A picture as `uint8 [h, w, 3]` in RGB, turned as its EXIF orientation says."""
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


def resized(pixels, size, axis, antialias):
    """`pixels` in float64, bilinear along one axis to `size`, between pixel centers."""
    scale = pixels.shape[axis] / size
    reach = max(scale, 1.0) if antialias else 1.0  # an antialiasing filter is as wide as the pixels it joins
    centers = (np.arange(size) + 0.5) * scale - 0.5
    at = np.floor(centers - reach)[:, None] + np.arange(2 * int(np.ceil(reach)) + 2)
    weights = np.maximum(1 - np.abs(at - centers[:, None]) / reach, 0) * (at >= 0) * (at < pixels.shape[axis])
    weights /= weights.sum(1, keepdims=True)
    at = at.clip(0, pixels.shape[axis] - 1).astype(int)
    shape = [-1 if i == axis else 1 for i in range(3)]
    return sum(pixels.take(at[:, k], axis) * weights[:, k].reshape(shape) for k in range(at.shape[1]))


def prepared(picture, contract):
    """The input `float32 [1, 3, h, w]`, and (scale x, scale y, left, top): where the picture lies in it."""
    rule, (height, width) = contract["preprocess"], (contract["input"]["height"], contract["input"]["width"])
    h, w = new_h, new_w = picture.shape[:2]
    if rule["resize"] == "stretch":
        new_h, new_w = height, width
    else:  # letterbox
        whole, ratio = round if rule["resize"] == "letterbox-center" else int, min(height / h, width / w)
        new_h, new_w = (min(max(whole(side * ratio), 1), end) for side, end in ((h, height), (w, width)))
    top = left = 0
    if rule["resize"] == "letterbox-center":
        top, left = (max(round((end - new) / 2 - 0.1), 0) for new, end in ((new_h, height), (new_w, width)))
    inside = resized(resized(picture.astype(np.float64), new_h, 0, rule["antialias"]), new_w, 1, rule["antialias"])
    canvas = np.full((height, width, 3), rule["pad"], np.float32)
    canvas[top : top + new_h, left : left + new_w] = np.floor(inside + 0.5 + 1e-6).clip(0, 255)
    channels = canvas[:, :, ::-1] if rule["order"] == "bgr" else canvas
    mean, std = np.float32(rule["mean"]), np.float32(rule["std"])
    image = (channels * np.float32(rule["scale"]) - mean) / std
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None]), (new_w / w, new_h / h, left, top)


def chosen(outputs, contract):
    """Rows x1, y1, x2, y2, score, label of one image, best first, in pixels of the input."""
    if "detections" in outputs:  # the file chose them itself
        rows = outputs["detections"][0]
        rows = rows[rows[:, 4] > SCORE]
        return rows[np.argsort(-rows[:, 4], kind="stable")]
    rule, boxes, scores = contract["selection"], outputs["boxes"][0], outputs["scores"][0]
    rows = np.column_stack([boxes, scores.max(1), scores.argmax(1)])
    rows = rows[rows[:, 4] > SCORE]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")][: rule["max_candidates"]]
    if rule["iou_threshold"] is not None:
        rows = suppressed(rows, rule["iou_threshold"])
    return rows[: rule["max_detections"]]


def suppressed(rows, threshold):
    """The rows that no better row of their class overlaps by more than `threshold`."""
    kept = []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        inner = np.minimum(best[2:4], rows[:, 2:4]) - np.maximum(best[:2], rows[:, :2])
        common = inner.clip(0).prod(1)
        areas = (rows[:, 2:4] - rows[:, :2]).clip(0).prod(1) + (best[2:4] - best[:2]).clip(0).prod()
        iou = common / np.maximum(areas - common, np.finfo(np.float32).tiny)
        rows = rows[(iou <= threshold) | (rows[:, 5] != best[5])]
    return np.array(kept).reshape(-1, 6)


def show(path, run):
    """Print the objects in every picture; `run` takes an input `[1, 3, h, w]` and gives the outputs by name."""
    import sys

    contract = read_contract(path)
    for file in sys.argv[2:]:
        picture = read_picture(file)
        image, (scale_x, scale_y, left, top) = prepared(picture, contract)
        rows = chosen(run(np.repeat(image, contract["input"]["batch"], 0)), contract)
        h, w = picture.shape[:2]
        boxes = (rows[:, :4] - [left, top, left, top]) / [scale_x, scale_y, scale_x, scale_y]
        for box, (score, label) in zip(boxes.clip(0, [w, h, w, h]), rows[:, 4:], strict=True):
            name = contract["class_names"][int(label)]
            print(file, name, f"{score:.4f}", *(f"{side:.2f}" for side in box), sep="\t")
