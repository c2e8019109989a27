"""Fuzzing of the doors: mutated files, read in this process; anything but ``BadInput`` is a finding.

``python -m tests.hostile.fuzz onnx --seconds 3600`` runs one door for a while and prints each finding with its seed.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from search_spaces.graph import Graph
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from tests.hostile.values import JSON, YAML, damaged, paths, replaced
from workbench.errors import BadInput


def onnx_seeds() -> list[bytes]:
    """Small whole ONNX files."""
    from tests.hostile.onnx_cases import conv, network, relu, structure_models

    models = [network([conv(), relu()]), *list(structure_models().values())[::5]]
    return [model.SerializeToString() for model in models]


def text_seeds() -> dict[str, list[bytes]]:
    """Whole files by door."""
    from PIL import Image

    from search_spaces.tinynas_text import to_text
    from tests.hostile.text_cases import SMALL, shipped

    graph = lower(PUBLISHED["damo-yolo-t"], "detector").to_json()
    graph["nodes"], graph["outputs"] = graph["nodes"][:20], [19]
    images = []
    for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF"):
        data = io.BytesIO()
        Image.effect_noise((40, 30), 60).convert("RGB").save(data, kind)
        images.append(data.getvalue())
    return {
        "yaml": [
            yaml.safe_dump(data, sort_keys=False).encode()
            for data in (SMALL.to_dict(), shipped("search_spaces.spaces", "res.yaml"))
        ],
        "json": [json.dumps(graph).encode()],
        "tinynas": [to_text(SMALL.backbone()).encode()],
        "image": images,
    }


def read_as_onnx(file: Path) -> None:
    """Through the ONNX door, to costs."""
    from zoo.graphs.from_onnx import read_onnx

    read_onnx(file).table()


def read_as_yaml(file: Path) -> None:
    """As an architecture and as a space."""
    from search_spaces.architecture import Architecture
    from search_spaces.space_file import load_space

    for read in (Architecture.load, lambda path: load_space(str(path))):
        try:
            read(file)
        except BadInput:
            continue


def read_as_json(file: Path) -> None:
    """As graph JSON, to costs."""
    from workbench.doors.json import read_json_object

    Graph.from_json(read_json_object(file)).table(64)


def read_as_tinynas(file: Path) -> None:
    """As TinyNAS text, to a graph."""
    from search_spaces.tinynas_text import parse
    from workbench.doors.bytes import read_text

    lower(parse(read_text(file)), "backbone").table(64)


def read_as_image(file: Path) -> None:
    """Header and pixels."""
    from distill.data.formats.image_headers import read_header
    from zoo.images import read_image

    read_header(file)
    read_image(file)


DOORS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "onnx": (".onnx", read_as_onnx), "yaml": (".yaml", read_as_yaml), "json": (".json", read_as_json),
    "tinynas": (".txt", read_as_tinynas), "image": (".png", read_as_image),
}  # fmt: skip


def mutated(door: str, seeds: list[bytes], seed: int) -> bytes:
    """A file made from one of ``seeds``: damaged bytes, or another value in a whole structure."""
    draw = random.Random(f"{door}-{seed}")
    data = draw.choice(seeds)
    if door in ("yaml", "json") and draw.random() < 0.6:
        whole: Any = yaml.safe_load(data) if door == "yaml" else json.loads(data)
        for _ in range(draw.randint(1, 3)):
            places = sorted(paths(whole), key=repr)
            value = draw.choice([*JSON.values(), *([-1, 3, 0.5, 1e300, "8..16", [8, 16]])])
            whole = replaced(whole, draw.choice(places), value) if places and isinstance(whole, (dict, list)) else whole
        if door == "json":
            return json.dumps(whole).encode()
        text = yaml.safe_dump(whole, sort_keys=False)
        return text.replace("zero", draw.choice(list(YAML.values()))).encode("utf-8", "surrogatepass")
    return damaged(data, draw.randrange(2**32))


def findings(door: str, count: int | None = None, seconds: float | None = None) -> Iterator[str]:
    """What went wrong in ``count`` files, or in as many as ``seconds`` allow."""
    suffix, read = DOORS[door]
    seeds = onnx_seeds() if door == "onnx" else text_seeds()[door]
    end = None if seconds is None else time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"fuzz{suffix}"
        file.write_bytes(seeds[0])
        read(file)  # a whole file; loads the libraries too
        seed = 0
        while (count is None or seed < count) and (end is None or time.monotonic() < end):
            file.write_bytes(mutated(door, seeds, seed))
            began = time.monotonic()
            try:
                read(file)
            except BadInput as error:
                if not str(error).replace("\n", " ").replace("\t", " ").isprintable():
                    yield f"{door} {seed}: not printable: {error!r:.200}"
            except Exception as error:
                yield f"{door} {seed}: {error!r:.300}"
            if time.monotonic() - began > 20:
                yield f"{door} {seed}: took {time.monotonic() - began:.0f} s"
            seed += 1


def main() -> None:
    """Fuzz the doors that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("doors", nargs="*", metavar="DOOR", help=f"{', '.join(DOORS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each door (default: %(default)s)")
    args = parser.parse_args()
    for door in args.doors or DOORS:
        found = 0
        for text in findings(door, seconds=args.seconds):
            print(text, flush=True)
            found += 1
        print(f"{door}: {found} findings in {args.seconds:g} s", flush=True)


if __name__ == "__main__":
    main()
