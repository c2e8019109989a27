"""Hostile words on the command line, and files that are no files: folders, pipes, devices."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.hostile.runner import ANY, Case
from tests.hostile.values import ESCAPE

WORDS = {
    "long": "x" * 300,
    "long-file": "x" * 300 + ".yaml",
    "very-long": "y/" * 3000 + "z.onnx",
    "escape": ESCAPE,
    "no-utf8": "\udcff\udcfe.yaml",
    "empty": "",
    "dots": "../../../../etc/passwd",
    "root": "/",
    "proc": "/proc/self/mem",
    "dash": "-",
    "space": "  ",
    "digits": "9" * 6000,
    "minus": "-1",
    "nan": "nan",
    "inf": "inf",
    "float": "1e400",
    "json": '{"a": 1}',
    "percent": "%s%n",
    "home": "~",
    "url": "http://127.0.0.1:9/x.onnx",
    "zero": "0",
    "huge": str(2**70),
    "stars": "*" * 200,
    "null": "/dev/null",
    "new-lines": "a\nb\nc",
    "right-to-left": "\u202egnp.x",
}
PLACES = {
    "show": "show @",
    "cost": "cost @",
    "score": "score @",
    "latency": "latency @ --device t4",
    "device": "cost damo-yolo-t --device @",
    "devices": "devices show @",
    "spaces": "spaces check @",
    "space": "search --budget 3ms --device t4 --space @ --quiet",
    "budget": "search --budget @ --device t4 --quiet",
    "weights": "score damo-yolo-t --weights @",
    "score-name": "score damo-yolo-t --score @",
    "zoo": "zoo show @",
    "import": "zoo import @",
    "predict": "predict @ x.png",
    "export": "export @ --format onnx --quiet",
    "eval": "eval @ --data d",
    "doctor": "data doctor @ --quiet",
    "data-show": "data show @ --quiet",
    "compare": "compare @ --no-zoo --quiet",
    "atlas": "atlas --data @",
    "bench-data": "bench-scores --data @",
    "check": "devices check t4 @",
    "merge": "devices merge @",
    "fit": "devices fit @ --out d.yaml",
    "train": "train damo-yolo-t --data @ --quiet",
    "recipe": "train damo-yolo-t --data d --recipe @ --quiet",
    "set": "train damo-yolo-t --data d --set @ --quiet",
    "teacher": "distill damo-yolo-t --teacher @ --data d --quiet",
    "shrink": "shrink @ --budget 1ms --device t4 --data d --quiet",
    "seed": "search --budget 3ms --device t4 --seed @ --quiet",
    "input": "cost damo-yolo-t --input @",
    "grid": "search --budget 3ms --device t4 --grid @ --quiet",
    "name": "train damo-yolo-t --data d --name @",
    "synth-seed": "data synth out --images 2 --seed @ --quiet",
    "images": "data synth out --seed 0 --images @ --quiet",
    "command": "@",
    "board": "board @ --port 1",
    "vary": "tune --model damo-yolo-t --data d --vary @ --quiet",
    "names": "zoo import x.pth --names @",
    "px": "atlas --px @",
    "top": "atlas --top @",
}
LEFT_OUT = {("images", "digits"), ("images", "huge"), ("board", "zero")}
"""Valid requests that take long."""


def word_cases() -> list[Case]:
    """Every word in every place, in turns that keep the number down."""
    cases = []
    for row, (place, line) in enumerate(PLACES.items()):
        for column, (name, word) in enumerate(WORDS.items()):
            if (row + column) % 3 == 0 and (place, name) not in LEFT_OUT:
                argv = tuple(word if part == "@" else part for part in line.split())
                cases.append(Case(f"words/{place}-{name}", argv, codes=ANY))
    return cases


def odd_file_cases() -> list[Case]:
    """Folders, pipes, devices, links in circles and unreadable names where files are expected."""

    def pipe(name: str) -> Callable[[Path], None]:
        return lambda folder: os.mkfifo(folder / name)

    def device(name: str) -> Callable[[Path], None]:
        return lambda folder: (folder / name).symlink_to("/dev/zero")

    def circle(name: str) -> Callable[[Path], None]:
        return lambda folder: (folder / name).symlink_to(name)

    def place(name: str) -> Callable[[Path], None]:
        return lambda folder: (folder / name).mkdir()

    lines = {
        "spaces check @": "f.yaml",
        "show @": "f.yaml",
        "cost @": "f.json",
        "cost @ ": "f.onnx",
        "show @ ": "f.txt",
        "devices show @": "f.yaml",
        "zoo show @": "f.safetensors",
        "zoo import @": "f.npz",
        "zoo import @ ": "f.pth",
        "devices check t4 @": "f.jsonl",
        "devices merge @": "f.jsonl.gz",
        "devices check t4 @ ": "f.csv",
        "predict damo-yolo-t @ --quiet": "f.png",
        "data doctor @ --quiet": "f.yaml",
        "data doctor @  --quiet": "f.json",
        "train damo-yolo-t --data d --recipe @": "f.yaml",
        "predict @ x.png": "f.onnx",
        "score damo-yolo-t --score @": "f.yaml",
        "tune --model damo-yolo-t --data d --ranges @": "f.yaml",
        "cost damo-yolo-t --device @": "f.yaml",
        "bench-scores --data d --train 1 --design @": "f.yaml",
        "zoo import x.pth --names @": "f.txt",
    }
    return [
        Case(
            f"files/{kind}-{number}",
            tuple(line.replace("@", file).split()),
            build(file),
            ANY if kind == "folder" else (2,),
        )
        for number, (line, file) in enumerate(lines.items())
        for kind, build in (("pipe", pipe), ("device", device), ("circle", circle), ("folder", place))
    ]
