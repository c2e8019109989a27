"""Hostile data sets and images: YOLO, COCO, Pascal VOC, and pictures that are none."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.hostile.runner import ANY, Case, file_case
from tests.hostile.values import BYTES, ESCAPE, JSON, YAML, damaged, replaced

COMMANDS = ("data doctor @ --quiet", "data show @ --quiet", "data levels @ --quiet", "data doctor @ --quick --quiet")


def picture(kind: str = "PNG", side: int = 32) -> bytes:
    """A grey image."""
    data = io.BytesIO()
    Image.new("RGB", (side, side), (90, 90, 90)).save(data, kind)
    return data.getvalue()


def data_cases(folder: Path) -> list[Case]:
    """All cases of data sets and images; ``folder`` holds ``tiny.safetensors``."""
    return [*yolo_cases(), *coco_cases(), *voc_cases(), *image_cases(folder / "tiny.safetensors")]


def _case(name: str, number: int, write: Callable[[Path], None]) -> Case:
    return Case(name, tuple(COMMANDS[number % len(COMMANDS)].replace("@", "set").split()), write, ANY)


def yolo_cases() -> list[Case]:
    """Values of ``data.yaml``, and label files."""
    fields = ("path", "train", "val", "names", "nc")
    labels: dict[str, bytes] = {
        "words": b"a b c d e",
        "nan": b"0 nan nan nan nan",
        "far": b"0 1e300 1e300 1e300 1e300",
        "negative": b"-1 .5 .5 .1 .1",
        "class": b"9" * 5000 + b" .5 .5 .1 .1",
        "float-class": b"0.5 .5 .5 .1 .1",
        "polygon": b"0 " + b".1 " * 99_999,
        "escape": ESCAPE.encode(),
        "lines": b"0 .5 .5 .1 .1\n" * 20_000,
        **{f"bytes-{name}": data for name, data in BYTES.items()},
    }

    def write(description: str, label: bytes) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            for place in ("images", "labels"):
                (folder / "set" / place).mkdir(parents=True)
            (folder / "set" / "images" / "a.png").write_bytes(picture())
            (folder / "set" / "labels" / "a.txt").write_bytes(label)
            (folder / "set" / "data.yaml").write_text(description)

        return build

    whole = {"path": ".", "train": "images", "val": "images", "names": "[a, b]", "nc": "2"}
    cases = []
    for number, (name, value) in enumerate(YAML.items()):
        for key in (fields[number % 5], fields[(number + 2) % 5]):
            text = "".join(f"{k}: {v}\n" for k, v in {**whole, key: value}.items())
            cases.append(_case(f"yolo/{key}-{name}", number, write(text, b"0 .5 .5 .2 .2\n")))
    for place in (
        "/",
        "/etc",
        "../..",
        "~",
        "/proc/self/fd",
        "/dev",
        "\\\\.\\pipe",
        "a" * 5000,
        ESCAPE.replace("\x1b", "e"),
    ):
        text = "".join(f"{k}: {json.dumps(v) if k == 'train' else v}\n" for k, v in {**whole, "train": place}.items())
        cases.append(_case(f"yolo/place-{len(cases)}", len(cases), write(text, b"")))
    plain = "".join(f"{k}: {v}\n" for k, v in whole.items())
    return cases + [_case(f"yolo/label-{name}", n, write(plain, data)) for n, (name, data) in enumerate(labels.items())]


def coco_cases() -> list[Case]:
    """Fields of COCO's JSON, and hostile bytes."""
    whole: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 32}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "area": 64, "iscrowd": 0}],
    }

    def write(content: bytes) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            (folder / "set").mkdir()
            (folder / "set" / "a.png").write_bytes(picture())
            (folder / "set" / "instances.json").write_bytes(content)

        return build

    places: tuple[tuple[Any, ...], ...] = (
        ("images",),
        ("categories",),
        ("annotations",),
        ("images", 0),
        ("annotations", 0),
        ("images", 0, "id"),
        ("images", 0, "file_name"),
        ("images", 0, "width"),
        ("categories", 0, "id"),
        ("categories", 0, "name"),
        ("annotations", 0, "bbox"),
        ("annotations", 0, "image_id"),
        ("annotations", 0, "category_id"),
        ("annotations", 0, "iscrowd"),
        ("annotations", 0, "bbox", 2),
    )
    cases = []
    for row, (name, value) in enumerate(JSON.items()):
        for column, place in enumerate(places):
            if (row + column) % 3 == 0:
                content = json.dumps(replaced(whole, place, value)).encode()
                cases.append(_case(f"coco/{'-'.join(map(str, place))}-{name}", row + column, write(content)))
    text = json.dumps(whole).encode()
    cases += [_case(f"coco/damaged-{seed}", seed, write(damaged(text, seed))) for seed in range(20)]
    return cases + [_case(f"coco/bytes-{name}", n, write(data)) for n, (name, data) in enumerate(BYTES.items())]


def voc_cases() -> list[Case]:
    """Annotations in XML."""
    box = "<object><name>a</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    bomb = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    texts = {
        "bomb": f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "x">{bomb}]><annotation>&e12;</annotation>',
        "external": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>',
        "deep": "<a>" * 50_000,
        "attributes": f"<annotation {' '.join(f'a{i}={i!r}' for i in range(5000))}/>".replace("=", "='").replace(
            " a", "' a"
        ),
        "nan": f"<annotation>{box.replace('>9<', '>nan<')}</annotation>",
        "digits": f"<annotation>{box.replace('>9<', '>' + '9' * 6000 + '<')}</annotation>",
        "escape": f"<annotation>{box.replace('>a<', '>&#27;[31m<')}</annotation>",
        "empty": "<annotation/>",
        "words": f"<annotation>{box.replace('>9<', '>nine<')}</annotation>",
        "many": f"<annotation>{box * 3000}</annotation>",
    }

    def write(content: bytes) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            for place in ("JPEGImages", "Annotations", "ImageSets/Main"):
                (folder / "set" / place).mkdir(parents=True)
            (folder / "set" / "JPEGImages" / "a.jpg").write_bytes(picture("JPEG"))
            (folder / "set" / "Annotations" / "a.xml").write_bytes(content)
            for split in ("train", "val"):
                (folder / "set" / "ImageSets" / "Main" / f"{split}.txt").write_text("a\n")

        return build

    contents = {
        **{name: text.encode() for name, text in texts.items()},
        **{f"bytes-{name}": data for name, data in BYTES.items()},
    }
    return [_case(f"voc/{name}", number, write(data)) for number, (name, data) in enumerate(contents.items())]


def image_cases(checkpoint: Path) -> list[Case]:
    """Pictures: bombs, lies about sizes, damaged bytes. Every other one goes through ``checkpoint``."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def png(width: int, height: int, depth: int = 8, color: int = 2, more: bytes = b"") -> bytes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")

    pictures = {
        "bomb.png": png(60_000, 60_000),
        "wide.png": png(2**31 - 1, 1),
        "zero.png": png(0, 0),
        "depth.png": png(8, 8, 99),
        "large.png": png(12_000, 12_000),
        "text-bomb.png": png(8, 8, more=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000)))),
        "icc.png": png(8, 8, more=chunk(b"iCCP", b"n\0\0" + b"\xff" * 99)),
        "bomb.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "cut.jpg": picture("JPEG", 400)[:700],
        "fake.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40),
        "fake.tif": b"II*\0" + b"\xff" * 200,
        "name.jpg": b"#!/bin/sh\ntouch PAYLOAD\n",
        "tiff.tif": picture("TIFF"),
        "ps.jpg": b"%!PS-Adobe\n/x {x} def x\n",
        "gif.png": picture("GIF"),
        **{f"{name}.png": data for name, data in BYTES.items()},
    }
    for seed in range(15):
        for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF"):
            pictures[f"damaged-{seed}.{kind.lower()}"] = damaged(picture(kind), seed)
    cases = []
    for number, (name, data) in enumerate(pictures.items()):
        if number % 2:
            cases.append(
                file_case(f"images/predict-{name}", f"predict {checkpoint} {name} --quiet --out o", name, data, ANY)
            )
            continue

        def build(folder: Path, name: str = name, data: bytes = data) -> None:
            (folder / "set" / "images").mkdir(parents=True)
            (folder / "set" / "labels").mkdir()
            (folder / "set" / "images" / name).write_bytes(data)
            (folder / "set" / "data.yaml").write_text("train: images\nval: images\nnames: [a]\n")

        cases.append(_case(f"images/set-{name}", number // 2, build))
    return cases
