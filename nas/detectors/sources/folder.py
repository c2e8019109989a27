"""A folder of trained detectors: ``accuracy.csv`` and graphs, and whatever else is known about them.

``accuracy.csv`` has a line a network (``arch``, ``input_px``, optionally ``family``, columns of mAP as fractions), the
graphs lie in ``graphs.jsonl.gz`` or ``NAME.onnx``. Optional: ``latency.csv`` (columns of milliseconds ending in
``_ms``), ``trainings.csv`` (a line a training: ``graph``, ``input_px``, the columns of mAP again, and ``model``,
``recipe``, ``source``, ``licence``, ``params_m``, ``gflops`` where known), ``sizes.csv`` (published sizes beside the
graph's, with a verdict), ``latency_facts.csv`` and ``int8.csv``.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.detectors.atlas import Atlas, Key
from nas.detectors.entry import SEED_SUFFIX, Entry
from nas.detectors.licences import family_licence
from nas.detectors.recipes import column_tag, parse_recipe
from nas.detectors.sources.accuracy_table import NumberTable, fraction, read_accuracies, read_latencies, whole_px
from nas.detectors.sources.facts import ANY_PX, read_facts, read_int8
from nas.detectors.sources.sizes import read_sizes
from nas.devices.measured.csv_file import csv_rows, number
from nas.devices.measured.networks import family_of, graphs_of
from workbench.errors import BadInput

NEEDED = "accuracy.csv and graphs.jsonl.gz or *.onnx files; latency.csv if they were timed"
AP_SUFFIX = "map50_95"


def read_folder(folder: str) -> Atlas:
    """Read a folder; every line of ``trainings.csv`` is an entry, without that every figure of ``accuracy.csv``."""
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{folder!r} is not a folder: it must hold {NEEDED}")
    accuracy = read_accuracies(root / "accuracy.csv")
    if not accuracy.rows:
        raise BadInput("accuracy.csv has no points")
    empty: NumberTable = NumberTable({}, (), {})
    latency = read_latencies(root / "latency.csv") if (root / "latency.csv").exists() else empty
    trainings = root / "trainings.csv"
    trained, columns = _trainings(trainings, accuracy, folder) if trainings.exists() else ([], ())
    listed = {entry.key for entry in trained}
    untold = [key for key in accuracy.rows if key not in listed]
    entries = [*trained, *(entry for key in untold for entry in _entries_of_row(key, accuracy, folder))]
    points = {key: dict(figures) for key, figures in accuracy.rows.items()}
    for entry in trained:
        points.setdefault(entry.key, dict(entry.figures))
    names = {name for name, _ in points}
    graphs = {name: graph for name, graph in graphs_of(root, names).items() if name in names}
    missing = sorted(names - graphs.keys())
    if missing:
        raise BadInput(f"accuracy.csv: {missing[0]!r} has no graph in graphs.jsonl.gz and no file {missing[0]}.onnx")
    atlas = Atlas(
        entries=tuple(_with_tables(root, entries, latency)),
        graphs=graphs,
        points=points,
        latency={key: figures for key, figures in latency.rows.items() if key in points},
        accuracy_columns=tuple(dict.fromkeys([*accuracy.columns, *columns])),
        latency_columns=latency.columns,
        data=(folder,),
    )
    return atlas


def _with_tables(root: Path, entries: Sequence[Entry], latency: NumberTable) -> list[Entry]:
    """The entries with their latencies, published sizes, latency facts and INT8 accuracies."""
    sizes, facts, int8 = read_sizes(root / "sizes.csv"), read_facts(root / "latency_facts.csv"), read_int8(root)
    return [
        replace(
            entry,
            latency={name: ms for name, ms in latency.rows.get(entry.key, {}).items() if not math.isnan(ms)},
            size=sizes.get(entry.key, entry.size),
            facts=tuple(fact for key in (entry.key, (entry.name, ANY_PX)) for fact in facts.get(key, ())),
            int8=tuple(pair for key in (entry.key, (entry.name, ANY_PX)) for pair in int8.get(key, ())),
        )
        for entry in entries
    ]


def _entries_of_row(key: Key, accuracy: NumberTable, folder: str) -> list[Entry]:
    """An entry per column with a figure; repeated seeds belong to the column whose mean they make."""
    figures = {column: value for column, value in accuracy.rows[key].items() if not math.isnan(value)}
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    for column, value in figures.items():
        base = re.sub(rf"{SEED_SUFFIX}\d+$", "", column)
        groups[base if base in accuracy.columns else column][column] = value
    family = accuracy.families[key]
    return [
        Entry(
            name=key[0], model=key[0], family=family, input_px=key[1], column=column, figures=group,
            recipe=parse_recipe(column_tag(column), family), source="", licence=family_licence(family), data=folder,
        )
        for column, group in (groups or {accuracy.columns[0]: {}}).items()
    ]  # fmt: skip


def _trainings(path: Path, accuracy: NumberTable, folder: str) -> tuple[list[Entry], tuple[str, ...]]:
    """An entry per line of ``trainings.csv``, and its columns of accuracy."""
    header, rows = csv_rows(path)
    if "graph" not in header or "input_px" not in header:
        raise BadInput(f"{path.name} needs the columns 'graph' and 'input_px'; it has {', '.join(header)}")
    columns = tuple(name for name in header if name in accuracy.columns or name.endswith(AP_SUFFIX))
    if not columns:
        raise BadInput(f"{path.name} has no column of mAP: write the columns of accuracy.csv")
    entries = [_training(row, columns, f"{path.name}, line {line}", folder) for line, row in enumerate(rows, start=2)]
    by_key: dict[Key, list[int]] = defaultdict(list)
    for at, entry in enumerate(entries):
        by_key[entry.key].append(at)
    for key, places in by_key.items():
        others = {name: v for name, v in accuracy.rows.get(key, {}).items() if name not in columns}
        for name, value in others.items():
            if not math.isnan(value):
                at = next((at for at in places if value in entries[at].figures.values()), places[0])
                entries[at] = replace(entries[at], figures={**entries[at].figures, name: value})
        if key in accuracy.families:
            for at in places:
                entries[at] = replace(entries[at], family=entries[at].family or accuracy.families[key])
    return entries, columns


def _training(row: Mapping[str, Any], columns: Sequence[str], where: str, folder: str) -> Entry:
    texts = {name: (row[name] or "").strip() for name in columns}
    figures = {name: fraction(text, name, where) for name, text in texts.items() if text}
    name = (row["graph"] or "").strip()
    cell = {key: (row.get(key) or "").strip() for key in ("model", "family", "recipe", "source", "licence")}
    family = cell["family"] or family_of(name)
    return Entry(
        name=name,
        model=cell["model"] or name,
        family=family,
        input_px=whole_px(row["input_px"], where),
        column=next(iter(figures), columns[0]),
        figures=figures,
        recipe=parse_recipe(cell["recipe"], family),
        source=cell["source"],
        licence=cell["licence"] or family_licence(family),
        data=folder,
        params_m=known(row.get("params_m")),
        gflops=known(row.get("gflops")),
    )


def known(text: str | None) -> float | None:
    """The number in a cell; None if it holds none."""
    value = number(text)
    return None if math.isnan(value) else value
