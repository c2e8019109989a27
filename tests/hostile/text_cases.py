"""Hostile YAML, graph JSON and TinyNAS text."""

from __future__ import annotations

import json
import random
from importlib import resources
from typing import Any

import yaml

from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from search_spaces.tinynas_text import to_text
from tests.hostile.runner import ANY, Case, file_case
from tests.hostile.values import BYTES, ESCAPE, JSON, YAML, damaged, paths, replaced

SMALL = PUBLISHED["damo-yolo-t"]


def shipped(package: str, name: str) -> dict[str, Any]:
    """Data of a YAML file that ships."""
    return dict(yaml.safe_load(resources.files(package).joinpath(name).read_text(encoding="utf-8")))


def kinds() -> dict[str, tuple[dict[str, Any], tuple[str, ...]]]:
    """For each kind of YAML file: a whole one, and the commands that read it."""
    design = shipped("nas.evidence.own.designs", "levels.yaml")
    return {
        "architecture": (SMALL.to_dict(), ("show {}", "cost {} --device t4", "score {}", "export {} --format tinynas")),
        "space": (
            shipped("search_spaces.spaces", "res.yaml"),
            ("spaces check {}", "spaces show {}", "search --budget 3ms --device t4 --space {} --quiet"),
        ),
        "device": (shipped("nas.devices.profiles", "t4.yaml"), ("devices show {}", "cost damo-yolo-t --device {}")),
        "design": (design, ("bench-scores --data none --train 2 --design {} --pictures nowhere --quiet",)),
        "recipe": (
            shipped("distill.train.recipes", "small.yaml"),
            ("train damo-yolo-t --data nowhere --recipe {} --quiet",),
        ),
        "ranges": (
            {"lr": "log:1e-4..1e-2", "batch": [8, 16]},
            ("tune --model damo-yolo-t --data nowhere --ranges {} --quiet",),
        ),
        "forecast": (
            shipped("nas.scores", "forecast.yaml"),
            ("score damo-yolo-t --score {}",),
        ),
        "data": (
            {"path": ".", "train": "images", "val": "images", "names": ["a", "b"]},
            ("data doctor {} --quick --quiet",),
        ),
    }


def yaml_cases() -> list[Case]:
    """Every hostile value in some fields of every kind of file, and files of hostile bytes."""
    cases = []
    for kind, (whole, commands) in kinds().items():
        places = sorted(paths(whole), key=repr)
        draw = random.Random(kind)
        for number, (name, value) in enumerate(YAML.items()):
            marked = replaced(whole, draw.choice(places), "@@")
            content = yaml.safe_dump(marked, sort_keys=False).replace("'@@'", value)
            command = commands[number % len(commands)]
            cases.append(file_case(f"yaml/{kind}-{name}", command, "f.yaml", content, ANY))
        for number, (name, data) in enumerate(BYTES.items()):
            command = commands[number % len(commands)]
            cases.append(file_case(f"yaml/{kind}-bytes-{name}", command, "f.yaml", data))
        for key in list(whole)[:6]:
            less = {name: value for name, value in whole.items() if name != key}
            cases.append(file_case(f"yaml/{kind}-no-{key}", commands[0], "f.yaml", yaml.safe_dump(less), ANY))
    return cases + space_cases()


def space_cases() -> list[Case]:
    """Ranges of spaces that count without end."""
    whole = shipped("search_spaces.spaces", "res.yaml")
    ranges = {
        "endless": "0..4000000000 step 1",
        "step-zero": "8..64 step 0",
        "backward": "64..8",
        "digits": "8.." + "9" * 4000,
        "huge-step": "8..64 step " + "9" * 30,
        "number": 10**15,
        "many": list(range(1, 9000)),
        "float": "1.5..2.5",
        "escape": ESCAPE,
    }
    places = [("stages", 1, "out"), ("stages", 2, "btn"), ("stages", 1, "depth"), ("stem", "out"), ("neck", "out")]
    places += [("stages", 1, "k"), ("neck", "depth"), ("head", "convs"), ("channels",), ("input",)]
    return [
        file_case(
            f"space/{'-'.join(map(str, place))}-{name}",
            "spaces check {}",
            "f.yaml",
            yaml.safe_dump(replaced(whole, place, value), sort_keys=False),
            ANY,
        )
        for place in places
        for name, value in ranges.items()
    ]


def graph_cases() -> list[Case]:
    """Graph JSON: hostile values in its fields, and hostile bytes."""
    graph = lower(SMALL, "detector").to_json()
    graph["nodes"] = graph["nodes"][:12]
    graph["outputs"] = [11]
    commands = ("cost {}", "show {}", "latency {} --device t4", "score {}")
    cases = []
    draw = random.Random("graph")
    places = sorted(paths(graph), key=repr)
    for number, (name, value) in enumerate(JSON.items()):
        for key in ("name", "inputs", "nodes", "outputs"):
            content = json.dumps(replaced(graph, (key,), value))
            cases.append(file_case(f"graph/{key}-{name}", commands[number % 4], "g.json", content, ANY))
        for turn in range(3):
            content = json.dumps(replaced(graph, draw.choice(places), value))
            cases.append(file_case(f"graph/field-{name}-{turn}", commands[turn], "g.json", content, ANY))
    for name, data in BYTES.items():
        cases.append(file_case(f"graph/bytes-{name}", "cost {}", "g.json", data))
    return cases + built_graphs(graph)


def built_graphs(graph: dict[str, Any]) -> list[Case]:
    """Graphs whose ops do not fit together, or multiply sizes."""
    conv = {"op": "conv", "in": [-1], "cin": 3, "cout": 8, "k": 3, "s": 2, "p": 1}
    grow = {"op": "upsample", "in": [0], "scale": 1000}
    nodes: dict[str, list[Any]] = {
        "no-input": [{**conv, "in": []}],
        "stride-zero": [{**conv, "s": 0}],
        "group-zero": [{**conv, "g": 0}],
        "kernel-zero": [{**conv, "k": 0}],
        "big-kernel": [{**conv, "k": 100_000}],
        "act-alone": [{"op": "act", "in": []}],
        "bn-alone": [{"op": "bn", "in": [], "c": 8}],
        "concat-empty": [{"op": "concat", "in": []}],
        "add-none": [{"op": "add", "in": []}],
        "unknown": [conv, {"op": ESCAPE, "in": [0]}],
        "scale-text": [conv, {"op": "upsample", "in": [0], "scale": "two"}],
        "grow": [conv, grow] + [{"op": "upsample", "in": [i], "scale": 1000} for i in range(1, 40)],
        "shape-text": [conv, {"op": "reshape", "in": [0], "shape": ["a", None]}],
        "shape-number": [conv, {"op": "reshape", "in": [0], "shape": 7}],
        "perm": [conv, {"op": "transpose", "in": [0], "perm": [9, 9, 9, 9]}],
        "matmul-one": [conv, {"op": "matmul", "in": [0]}],
        "heads": [conv, {"op": "reshape", "in": [0], "heads": 0}],
        "slice-step": [conv, {"op": "slice", "in": [0], "step": 0}],
        "tied": [conv, {"op": "scale", "in": [0], "tied_to": [1]}],
        "slice-axis": [conv, {"op": "slice", "in": [0], "axis": [1]}],
        "params": [conv, {"op": "scale", "in": [0], "params": "x"}],
        "many": [conv] * 60_000,
        "later": [{**conv, "in": [3]}],
        "kind-list": [conv, {"op": "act", "in": [0], "kind": [1]}],
        "numbers": [1, 2, 3],
        "name-escape": [{**conv, "name": ESCAPE, "part": ESCAPE}],
        "linear": [{"op": "linear", "in": [-1]}],
    }
    return [
        file_case(
            f"graph/built-{command}-{name}",
            f"{command} {{}} {more}",
            "g.json",
            json.dumps({**graph, "nodes": n, "outputs": []}),
            ANY,
        )
        for name, n in nodes.items()
        for command, more in (("cost", ""), ("show", "--device t4"))
    ]


def tinynas_cases() -> list[Case]:
    """TinyNAS text: hostile literals, fields and bytes."""
    text = to_text(SMALL.backbone())
    blocks: list[dict[str, Any]] = eval(text, {"__builtins__": {}})  # our own text, written a line above
    cases = [file_case(f"tinynas/bytes-{name}", "show {}", "s.txt", data) for name, data in BYTES.items()]
    for name, value in JSON.items():
        for field in ("class", "out", "k", "L"):
            content = repr(replaced(blocks, (1, field), value))
            cases.append(file_case(f"tinynas/{field}-{name}", "show {}", "s.txt", content, ANY))
    literals = {
        "sum": "1+1",
        "call": "__import__('os').system('touch PAYLOAD')",
        "names": "{'best_structures': []}",
        "structure": "{'best_structures': [{'space_arch': 1}]}",
        "info": "{'space_arch': 1}",
        "bytes": "[b'x', b'y']",
        "complex": "[1+2j, {}]",
        "set": "[{1}, {2}]",
        "unhashable": "{[]: 1}",
        "unary": "-" * 5000 + "1",
        "deep": "(" * 300 + ")" * 300,
        "deeper": "[" * 90 + "]" * 90,
        "digits": "[" + "9" * 6000 + ", {}]",
        "many": repr(blocks[:1] + blocks[1:2] * 5000),
        "null": "[\0]",
        "text": "'x' 'y'",
        "fstring": "f'{1}'",
        "ellipsis": "[..., ...]",
        "walrus": "(x := 1)",
        "mapping": "{'best_structures': 3}",
        "dictionary": "{1: 2, 3: 4}",
        "nested-set": "{'best_structures': {1, 2}}",
        "power": "9**9**9",
        "string-times": "'x'*10**10",
        "none": "None",
        "big": "[" + "{'class': 'x'}," * 20_000 + "]",
    }
    cases += [file_case(f"tinynas/{name}", "show {}", "s.txt", content) for name, content in literals.items()]
    for seed in range(20):
        content = damaged(text.encode(), seed)
        cases.append(file_case(f"tinynas/damaged-{seed}", "cost {}", "s.txt", content, ANY))
    return cases
