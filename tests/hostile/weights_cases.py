"""Hostile weights: safetensors and its manifest, npz, pickles that would run something, exported files' contracts."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.distill.tiny import tiny_detector
from tests.hostile.runner import ANY, Case, file_case
from tests.hostile.values import BYTES, JSON, damaged, paths, replaced
from zoo.weights.checkpoint import save


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch PAYLOAD",)


def checkpoint(folder: Path) -> bytes:
    """The bytes of a small checkpoint of ours."""
    save(tiny_detector(), folder / "tiny.safetensors")
    return (folder / "tiny.safetensors").read_bytes()


def with_header(data: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """A safetensors file with another header over the same tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def weights_cases(folder: Path) -> list[Case]:
    """All cases of weights; ``folder`` holds the checkpoint that they are made from."""
    data = checkpoint(folder)
    commands = ("zoo show {}", "cost {}", "predict {} x.png", "compare {} --no-zoo --quiet")
    cases = [file_case(f"weights/bytes-{name}", "zoo show {}", "m.safetensors", raw) for name, raw in BYTES.items()]
    cases += [
        file_case(f"weights/damaged-{seed}", commands[seed % 4], "m.safetensors", damaged(data, seed), ANY)
        for seed in range(24)
    ]
    text = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]["nas"]
    manifest = json.loads(text)
    places = [place for place in sorted(paths(manifest), key=repr) if place[0] != "architecture" or len(place) < 3]
    for number, (name, value) in enumerate(JSON.items()):
        for turn in range(4):
            other = json.dumps(replaced(manifest, places[(number * 7 + turn * 5) % len(places)], value))

            def change(header: dict[str, Any], other: str = other) -> dict[str, Any]:
                return {**header, "__metadata__": {"nas": other}}

            cases.append(
                file_case(
                    f"weights/manifest-{name}-{turn}", commands[turn], "m.safetensors", with_header(data, change), ANY
                )
            )
    large = json.dumps(replaced(manifest, ("info", "input_px"), 8192))
    content = with_header(data, lambda header: {**header, "__metadata__": {"nas": large}})
    cases.append(file_case("weights/input-8192", "predict {} . --quiet", "m.safetensors", content, ANY))
    claimed = json.dumps({**manifest, "model": "yolox-x", "architecture": None})
    content = with_header(data, lambda header: {**header, "__metadata__": {"nas": claimed}})
    cases.append(file_case("weights/claims-yolox-x", "compare {} --no-zoo --quiet", "m.safetensors", content))
    return cases + foreign_cases() + contract_cases()


def foreign_cases() -> list[Case]:
    """Pickles, zip archives and npz files."""

    def npz(name: str = "w.npy", body: bytes | None = None, compressed: bool = False) -> bytes:
        stream, array = io.BytesIO(), io.BytesIO()
        np.save(array, np.zeros((3, 3), np.float32))
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
            archive.writestr(name, array.getvalue() if body is None else body)
        return stream.getvalue()

    def header(text: str) -> bytes:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()

    objects = io.BytesIO()
    np.save(objects, np.array([Payload()], dtype=object), allow_pickle=True)
    files = {
        "pickle.pt": pickle.dumps(Payload()),
        "list.pt": pickle.dumps([Payload()] * 3),
        "old.pth": pickle.dumps({"model": Payload()}, 0),
        "zip.pt": npz("archive/data.pkl", pickle.dumps({"a": Payload()})),
        "objects.npz": npz(body=objects.getvalue()),
        "plain.npz": npz(),
        "bomb.npz": npz(body=bytes(10**8), compressed=True),
        "outside.npz": npz("../../outside.npy"),
        "claims.npz": npz(body=header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}\n")),
        "call.npz": npz(body=header("{'descr': __import__('os').system('touch PAYLOAD')}\n")),
        "deep.npz": npz(body=header("(" * 3000 + "\n")),
        "empty.npz": npz(body=b""),
        "negative.npz": npz(body=header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n")),
        "descr.npz": npz(body=header("{'descr': 'O', 'fortran_order': 7, 'shape': 3}\n")),
        "loop.pt": b"\x80\x02]q\x00h\x00a.",
        "long.pt": b"\x80\x02\x8b\xff\xff\xff\x7f",
        "memo.pt": b"\x80\x02r\xff\xff\xff\xff.",
        "global.pt": b"\x80\x02cos\nsystem\nX\x0d\x00\x00\x00touch PAYLOAD\x85R.",
        "deep.pt": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "stack.pt": b"\x80\x02" + b"(" * 100_000 + b".",
    }
    files |= {f"{name}.pth": raw for name, raw in BYTES.items()} | {f"{name}.npz": raw for name, raw in BYTES.items()}
    files |= {f"damaged-{seed}.npz": damaged(npz(), seed) for seed in range(12)}
    files |= {
        f"damaged-{seed}.pt": damaged(pickle.dumps({"model": {"a": [1, 2, 3], "b": "x"}}), seed) for seed in range(12)
    }
    return [file_case(f"foreign/{name}", "zoo import {}", name, raw) for name, raw in files.items()]


def contract_cases() -> list[Case]:
    """Contracts beside exported files."""
    import hashlib

    body = b"not a network"
    entry = {"name": "m.onnx", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    whole: dict[str, Any] = {
        "contract": 1,
        "format": "onnx",
        "input": {"name": "images", "shape": [1, 3, 64, 64]},
        "classes": ["a"],
        "outputs": [],
        "options": {},
        "gaps": {},
        "files": [entry],
        "model": "m",
    }

    def write(content: bytes) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            (folder / "m.onnx").write_bytes(body)
            (folder / "m.onnx.json").write_bytes(content)
            (folder / "m.json").write_bytes(content)

        return build

    contents = {f"bytes-{name}": raw for name, raw in BYTES.items()} | {"plain": json.dumps(whole).encode()}
    places = sorted(paths(whole), key=repr)
    for number, (name, value) in enumerate(JSON.items()):
        for turn in range(3):
            contents[f"{name}-{turn}"] = json.dumps(
                replaced(whole, places[(number * 5 + turn * 7) % len(places)], value)
            ).encode()
    return [
        Case(f"contract/{name}", ("predict", "m.onnx", ".", "--quiet"), write(raw)) for name, raw in contents.items()
    ]
