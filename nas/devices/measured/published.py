"""Tables of published latencies, read as measurements: folders with ``latency.csv``, and tables of single figures.

A column of ``latency.csv`` tells device, runtime, precision and what is timed by the words of its name
(``jetson_orin_trt_fp16_total_ms``). A table of figures (``FIGURE_COLUMNS``) has them in columns of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nas.devices.measured.csv_file import csv_rows, positive
from nas.devices.measured.exchange_file import MeasurementSet
from nas.devices.measured.measurement import NOT_STATED, Device, Measurement, Protocol, Runtime
from nas.devices.measured.networks import family_of, graphs_of
from nas.devices.measured.untrusted import MOST_TEXT, check_text
from search_spaces.graph import Graph
from workbench.errors import BadInput

FIGURE_COLUMNS = ("model", "graph", "input_px", "device", "runtime", "precision", "batch", "ms", "what", "source")
"""Header of a table with one published figure a line; rows without a ``graph`` are skipped."""
RUNTIMES = {
    "ort": "ONNX Runtime", "onnx": "ONNX Runtime", "onnxruntime": "ONNX Runtime", "trt": "TensorRT",
    "tensorrt": "TensorRT", "pytorch": "PyTorch", "torch": "PyTorch", "ncnn": "NCNN", "openvino": "OpenVINO",
    "tflite": "TensorFlow Lite", "mnn": "MNN",
}  # fmt: skip
"""Runtimes by their words in names of columns and in tables."""
PRECISIONS = ("fp32", "fp16", "bf16", "int16", "int8")
STATISTICS = {
    "total": Protocol("median over images: pre-processing, network and post-processing", host_work=True),
    "inference": Protocol("mean over images: network call", host_work=False),
}
"""Last word of a column's name: what is timed."""
WITHOUT_HOST_WORK = ("inference only", "without pre", "without post", "no pre/post", "forward only", "excludes io",
                     "gpu compute time", "no post-processing", "1000 / fps at batch")  # fmt: skip
"""Parts of ``what`` with which a figure is that of the network alone."""


def is_figure_table(path: str | Path) -> bool:
    """Whether a path is a CSV file with the columns of a table of figures."""
    file = Path(path)
    return file.is_file() and file.name.endswith((".csv", ".csv.gz")) and set(FIGURE_COLUMNS) <= set(csv_rows(file)[0])


def read_folder(folder: str | Path, column: str | None = None, family_from: str | None = None) -> MeasurementSet:
    """Every figure of a folder's ``latency.csv``, or those of one column.

    The source is that of column ``source`` if there is one (see ``publisher_of``), else the folder's name.
    """
    root = Path(folder)
    header, rows = csv_rows(root / "latency.csv")
    name_column = next((key for key in ("model", "arch") if key in header), None)
    if name_column is None or "input_px" not in header:
        raise BadInput(f"latency.csv needs the columns 'model' (or 'arch') and 'input_px'; it has {', '.join(header)}")
    times = [name for name in header if name.endswith("_ms")] if column is None else [column]
    family_column = family_from or "family"
    missing = [name for name in (*times, *([family_from] if family_from else [])) if name not in header]
    if missing or not times:
        raise BadInput(f"latency.csv has no column {missing[0] if missing else '*_ms'!r}; it has {', '.join(header)}")
    graphs = graphs_of(root, {row[name_column] for row in rows if any((row[name] or "").strip() for name in times)})
    found = MeasurementSet()
    for line, row in enumerate(rows, start=2):
        where = f"latency.csv, line {line}"
        for name in (name for name in times if (row[name] or "").strip()):
            model = _text(row[name_column], where)
            cite = _text(row.get("source"), where)
            device, runtime, protocol = column_setting(name)
            measurement = Measurement(
                network=found.add_graph(_graph_named(graphs, row[name_column], where)), name=model,
                ms=positive(row[name], name, where), input_px=_sides(row, where),
                family=_text(row.get(family_column), where) or family_of(model),
                device=device, runtime=runtime, protocol=protocol,
                source=publisher_of(cite) or _text(root.resolve().name, where), cite=cite,
            )  # fmt: skip
            found.rows.append(measurement)
    return found


def read_figures(path: str | Path) -> MeasurementSet:
    """The rows with a graph of a table of figures; the graphs are in ``graphs.jsonl.gz`` beside it."""
    file = Path(path)
    _, rows = csv_rows(file)
    graphs = graphs_of(file.parent, {row["graph"] for row in rows if row["graph"]})
    found = MeasurementSet()
    for line, row in enumerate(rows, start=2):
        if not row["graph"]:
            continue
        where = f"{file.name}, line {line}"
        graph = _graph_named(graphs, row["graph"], where)
        what, cite = _text(row["what"], where), _text(row["source"], where)
        host_work = False if any(words in what.lower() for words in WITHOUT_HOST_WORK) else None
        batch = round(positive(row["batch"], "batch", where)) if row["batch"] else None
        measurement = Measurement(
            network=found.add_graph(graph), name=_text(row["graph"], where), ms=positive(row["ms"], "ms", where),
            input_px=_sides(row, where), family=str(graph.meta.get("family") or family_of(row["graph"])), batch=batch,
            device=Device(_text(row["device"], where) or NOT_STATED),
            runtime=Runtime(_runtime_name(_text(row["runtime"], where)), precision=_text(row["precision"], where)),
            protocol=Protocol(what or NOT_STATED, host_work), source=publisher_of(cite), cite=cite,
        )  # fmt: skip
        found.rows.append(measurement)
    return found


def column_setting(column: str) -> tuple[Device, Runtime, Protocol]:
    """What the name of a column says: words of the device up to the runtime or precision, then what is timed."""
    words = column.removesuffix("_ms").split("_")
    runtime = next((word for word in words if word in RUNTIMES), "")
    precision = next((word for word in words if word in PRECISIONS), "")
    statistic = words[-1] if words[-1] in STATISTICS else ""
    first = min((words.index(word) for word in (runtime, precision, statistic) if word), default=len(words))
    named = any((runtime, precision))
    return (
        Device(" ".join(words[:first]) if named else NOT_STATED),
        Runtime(RUNTIMES.get(runtime, NOT_STATED), precision=precision.upper()),
        STATISTICS.get(statistic, Protocol()),
    )


def publisher_of(cite: str) -> str:
    """Who published a figure: the owner of the first repository that is named, else the text before a colon."""
    first = cite.split(";")[0].strip()
    repository = re.match(r"([\w.-]+)/[\w.-]+", first)
    return repository.group(1) if repository else first.split(":")[0].strip()


def _runtime_name(text: str) -> str:
    return RUNTIMES.get(text.lower().replace(" ", ""), text) or NOT_STATED


def _graph_named(graphs: Mapping[str, Graph], name: str, where: str) -> Graph:
    if name not in graphs:
        raise BadInput(f"{where}: model {name!r} has no graph in graphs.jsonl.gz and no file {name}.onnx")
    return graphs[name]


def _sides(row: Mapping[str, str], where: str) -> tuple[int, int]:
    px = positive(row["input_px"], "input_px", where)
    if px != int(px):
        raise BadInput(f"{where}: input_px={row['input_px']!r} must be a whole number of pixels")
    return int(px), int(px)


def _text(text: str | None, where: str) -> str:
    """A cell as one line, cut where it is long; control characters are refused."""
    return check_text(" ".join((text or "").split())[:MOST_TEXT], where)


