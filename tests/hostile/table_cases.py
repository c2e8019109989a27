"""Hostile tables and measurements: CSV, JSON lines, gzip."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from tests.hostile.runner import ANY, Case, file_case
from tests.hostile.values import BYTES, ESCAPE, JSON, damaged, paths, replaced

GZIP_BOMB = gzip.compress(bytes(2**30), 9)
"""A megabyte that unpacks to a gibibyte of zeros."""


def table_cases() -> list[Case]:
    """All cases of tables and measurements."""
    return [*exchange_cases(), *folder_cases(), *csv_cases()]


def lines() -> list[dict[str, Any]]:
    """A network and a measurement, as ``nas bench --out`` writes them."""
    from nas.devices.measured.exchange_file import _network_line
    from nas.devices.measured.network_hash import network_hash

    graph = lower(PUBLISHED["damo-yolo-t"], "detector")
    key = network_hash(graph)
    row = {"record": "measurement", "schema": 1, "network": key, "input_px": 640, "batch": 1, "median_ms": 3.0}
    return [_network_line(key, graph), row]


def exchange_cases() -> list[Case]:
    """Files of measurements."""
    commands = ("devices check t4 {}", "devices merge {}", "devices fit {} --out d.yaml")
    cases = []
    whole = lines()
    whole[0]["graph"]["nodes"] = whole[0]["graph"]["nodes"][:4]
    whole[0]["graph"]["outputs"] = [3]
    places = sorted(paths(whole), key=repr)
    for number, (name, value) in enumerate(JSON.items()):
        for turn in range(4):
            data = replaced(whole, places[(number * 31 + turn * 17) % len(places)], value)
            content = "".join(json.dumps(line) + "\n" for line in data if isinstance(line, dict))
            cases.append(file_case(f"measurements/{name}-{turn}", commands[turn % 3], "m.jsonl", content, ANY))
    for number, (name, raw) in enumerate(BYTES.items()):
        cases.append(file_case(f"measurements/bytes-{name}", commands[number % 3], "m.jsonl", raw))
        cases.append(file_case(f"measurements/gz-{name}", commands[number % 3], "m.jsonl.gz", raw))
        cases.append(file_case(f"measurements/packed-{name}", commands[number % 3], "m.jsonl.gz", gzip.compress(raw)))
    for suffix in ("jsonl.gz", "csv.gz"):
        cases.append(file_case(f"measurements/bomb-{suffix}", "devices check t4 {}", f"m.{suffix}", GZIP_BOMB))
        cases.append(file_case(f"measurements/cut-{suffix}", "devices check t4 {}", f"m.{suffix}", GZIP_BOMB[:5000]))
    return cases


def folder_cases() -> list[Case]:
    """Folders with ``latency.csv`` and ``graphs.jsonl.gz``, ``accuracy.csv`` and ``trained.jsonl``."""
    graph = json.dumps({**lower(PUBLISHED["damo-yolo-t"], "detector").to_json(), "name": "n"})
    good = {"latency.csv": b"model,input_px,t4_ms\nn,640,3.0\n", "graphs.jsonl.gz": gzip.compress(graph.encode())}
    good["accuracy.csv"] = b"arch,input_px,voc_scratch_map50_95\nn,640,0.3\n"
    good["trained.jsonl"] = b'{"name": "n", "levels": {}}\n'
    good["settings.yaml"] = b"recipe: {epochs: 3}\n"

    def write(files: dict[str, bytes]) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            (folder / "d").mkdir()
            for name, data in files.items():
                (folder / "d" / name).write_bytes(data)

        return build

    cells = ("nan", "-3", "1e999", "x", "", "9" * 5000, ESCAPE, '"', "0", "1.5")
    cases = []
    changes: dict[str, tuple[str, bytes]] = {
        "gz-bomb": ("graphs.jsonl.gz", GZIP_BOMB),
        "gz-text": ("graphs.jsonl.gz", graph.encode()),
    }
    changes |= {
        f"ms-{i}": ("latency.csv", f"model,input_px,t4_ms\nn,640,{cell}\n".encode()) for i, cell in enumerate(cells)
    }
    changes |= {
        f"px-{i}": ("latency.csv", f"model,input_px,t4_ms\nn,{cell},3\n".encode()) for i, cell in enumerate(cells)
    }
    changes |= {
        f"ap-{i}": ("accuracy.csv", f"arch,input_px,voc_scratch_map50_95\nn,640,{c}\n".encode())
        for i, c in enumerate(cells)
    }
    for file in good:
        changes |= {
            f"{file}-{name}": (file, gzip.compress(raw) if file.endswith("gz") else raw) for name, raw in BYTES.items()
        }
        changes[f"{file}-missing"] = (file, b"")
    commands = (
        "devices check t4 d",
        "devices fit d --out o.yaml",
        "bench-scores --data d --draws 10 --quiet",
        "atlas --data d",
    )
    for number, (name, (file, raw)) in enumerate(changes.items()):
        ours = 2 + number % 2 if file in ("accuracy.csv", "trained.jsonl", "settings.yaml") else number % 4
        files = {
            key: value for key, value in {**good, file: raw}.items() if not (name.endswith("missing") and key == file)
        }
        cases.append(Case(f"folders/{name}", tuple(commands[ours].split()), write(files), ANY))
    return cases


def csv_cases() -> list[Case]:
    """Published figures and tables of convolutions."""
    head = b"model,input_px,ms\n"
    contents = {
        "columns": b"a," * 200_000 + b"\n",
        "field": head + b'"' + b"x" * 200_000 + b'"\n',
        "nul": head + b"a\0b,1,2\n",
        "short": head + b"n\n",
        "long": head + b"n,1,2,3,4,5\n",
        "quote": head + b'"n,640,3',
        "escape": ESCAPE.encode() + b",b\n1,2\n",
        "twice": b"ms,ms,model\n1,2,n\n",
        **BYTES,
    }
    return [file_case(f"csv/{name}", "devices check t4 {}", "f.csv", data) for name, data in contents.items()] + [
        file_case(f"csv/damaged-{seed}", "devices fit {} --out o.yaml", "f.csv", damaged(head + b"n,640,3\n" * 9, seed))
        for seed in range(10)
    ]
