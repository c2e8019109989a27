"""TensorBoard event files, written with TensorBoard's own writer and message types, without torch or TensorFlow.

Importing TensorBoard takes most of a second, so it is imported when a writer is made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput
from workbench.files import write_atomic

if TYPE_CHECKING:
    import numpy as np

METRIC_TITLES = {
    "score": "score",
    "latency_ms": "latency (ms)",
    "params_m": "parameters (M)",
    "gflops": "GFLOPs",
    "layers": "layers",
}
"""Column titles of the metrics in the HParams tab, in this order; other metrics keep their names."""

METRIC_FOLDER = "top/"
"""Prefix of a candidate's metric tags, which puts them into one section of the Scalars tab."""

FLUSH_S = 5
"""Seconds after which pending events are flushed, so that a running search can be watched."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a network for the Graphs tab. ``name`` nests by its slashes; ``shape`` is of one image's output."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


class EventWriter:
    """Writes events to one run folder; opening it again adds a file, so that steps continue.

    A tag holds one kind of data. A tag that is used for a second kind gets the kind's name appended: a text beside
    the image ``best`` becomes ``best_text``. As a context manager it flushes on exit, also after Ctrl-C.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._writer = _open(self.folder)
        self._described = False
        self._kinds: dict[str, str] = {}

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One number of a curve."""
        self._add(_scalar(self._unique(tag, "scalar"), value), step)

    def image(self, tag: str, png_bytes: bytes, step: int) -> None:
        """A PNG for the Images tab."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = png_size(png_bytes)
        picture = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png_bytes)
        self._add(Summary(value=[Summary.Value(tag=self._unique(tag, "image"), image=picture)]), step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Markdown for the Text tab."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

        content = TextPluginData(version=0).SerializeToString()
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text", content=content))
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[markdown.encode("utf-8")], tensor_shape=shape)
        value = Summary.Value(tag=self._unique(tag, "text"), metadata=metadata, tensor=tensor)
        self._add(Summary(value=[value]), step)

    def hparams(self, run_name: str, hparams: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Write one candidate as a row of the HParams tab: a sub-run with settings and metrics.

        ``run_name`` is a path below the run folder, such as ``candidates/1f3a``. The first call also writes
        the experiment summary (columns and their titles) at the top of the run folder. Metrics are scalars
        ``top/NAME`` of the sub-run.
        """
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        path = _below(run_name)
        if not self._described:
            described = plugin_data_pb2.HParamsPluginData(experiment=_experiment(hparams, metrics))
            self._add(_hparams_summary(described, metadata.EXPERIMENT_TAG), 0)
            self._described = True
        now = time.time()
        start = plugin_data_pb2.SessionStartInfo(group_name=self._row_name(path), start_time_secs=now)
        for name, value in hparams.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif _is_number(value):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = str(value)
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=now)
        writer = _open(self.folder / path)
        try:
            for summary in (
                _hparams_summary(
                    plugin_data_pb2.HParamsPluginData(session_start_info=start), metadata.SESSION_START_INFO_TAG
                ),
                *(_scalar(METRIC_FOLDER + tag, value) for tag, value in metrics.items()),
                _hparams_summary(
                    plugin_data_pb2.HParamsPluginData(session_end_info=end), metadata.SESSION_END_INFO_TAG
                ),
            ):
                writer.add_event(_event(summary, 0))
        finally:
            writer.close()

    def below(self, run_name: str) -> EventWriter:
        """A writer for the sub-run at this path below the run folder."""
        return EventWriter(self.folder / _below(run_name))

    def graph(self, nodes: Sequence[Node]) -> None:
        """A network for the Graphs tab; a run shows one."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=0, graph_def=_graph_def(nodes)))

    def embedding(self, name: str, points: np.ndarray, facts: Mapping[str, Sequence[str]]) -> None:
        """Points ``[n, coordinates]`` for the Projector tab, with one text a point under every heading of ``facts``.

        A run shows one; a later call replaces it.
        """
        columns = list(facts)
        lines = ["\t".join(f"{value:.6g}" for value in point) for point in points]
        metadata = ["\t".join(_one_cell(facts[column][i]) for column in columns) for i in range(len(points))]
        # The Projector wants no heading where there is one column.
        head = ["\t".join(map(_one_cell, columns))] if len(columns) > 1 else []
        write_atomic(self.folder / "points.tsv", "\n".join(lines) + "\n")
        write_atomic(self.folder / "facts.tsv", "\n".join([*head, *metadata]) + "\n")
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        fields = f'tensor_name: "{quoted}"\n  tensor_path: "points.tsv"\n  metadata_path: "facts.tsv"'
        config = f"embeddings {{\n  {fields}\n}}\n"
        write_atomic(self.folder / "projector_config.pbtxt", config)

    def _row_name(self, path: PurePosixPath) -> str:
        """Name of a row. The candidate comes first, because TensorBoard truncates the column."""
        study = self.folder.absolute()
        return f"{path.name} of {study.parent.name if study.name == 'events' else study.name}"

    def flush(self) -> None:
        """Write all pending events to disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()

    def _unique(self, tag: str, kind: str) -> str:
        """The tag, with the kind appended if another kind uses the tag already."""
        return tag if self._kinds.setdefault(tag, kind) == kind else f"{tag}_{kind}"

    def _add(self, summary: Any, step: int) -> None:
        self._writer.add_event(_event(summary, step))


def _below(run_name: str) -> PurePosixPath:
    path = PurePosixPath(run_name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise BadInput(f"candidate run {run_name!r} must be a relative path below the run folder, without '..'")
    return path


def _one_cell(text: str) -> str:
    """The text on one line, without tabs."""
    return " ".join(str(text).split())


def _graph_def(nodes: Sequence[Node]) -> bytes:
    """TensorFlow's GraphDef of a network, with the fields that the Graphs tab reads."""
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.versions_pb2 import VersionDef

    definitions = []
    for node in nodes:
        attributes = {key: AttrValue(s=value.encode("utf-8")) for key, value in node.facts.items()}
        if node.shape:
            shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=side) for side in (1, *node.shape)])
            attributes["_output_shapes"] = AttrValue(list=AttrValue.ListValue(shape=[shape]))
        definitions.append(NodeDef(name=node.name, op=node.kind, input=node.inputs, attr=attributes))
    graph: bytes = GraphDef(node=definitions, versions=VersionDef(producer=22)).SerializeToString()
    return graph


def _open(folder: Path) -> Any:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    try:
        return EventFileWriter(str(folder), flush_secs=FLUSH_S)
    except OSError as error:
        raise BadInput(f"cannot write TensorBoard events to {str(folder)!r}: {error.strerror or error}") from error


def _event(summary: Any, step: int) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=float(value))])


def _hparams_summary(content: Any, tag: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return Summary(value=[value])


def _experiment(hparams: Mapping[str, Any], metrics: Mapping[str, float]) -> Any:
    # TensorBoard takes the columns of several studies from the first one it reads. All usual metrics are listed, so
    # that a study without a device does not hide the latencies of another.
    from tensorboard.plugins.hparams import api_pb2

    infos = []
    for name, value in hparams.items():
        kind = api_pb2.DATA_TYPE_STRING
        if isinstance(value, bool):
            kind = api_pb2.DATA_TYPE_BOOL
        elif _is_number(value):
            kind = api_pb2.DATA_TYPE_FLOAT64
        infos.append(api_pb2.HParamInfo(name=name, type=kind))
    tags = [*METRIC_TITLES, *(tag for tag in metrics if tag not in METRIC_TITLES)]
    shown = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=METRIC_FOLDER + tag), display_name=METRIC_TITLES.get(tag, tag))
        for tag in tags
    ]
    return api_pb2.Experiment(hparam_infos=infos, metric_infos=shown)


def _is_number(value: Any) -> bool:
    # TensorBoard's JSON has no NaN or infinity: they are shown as text.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, read from a PNG's header."""
    if not png.startswith(PNG_SIGNATURE) or len(png) < 24:
        raise BadInput(f"{len(png)} bytes beginning with {png[:8]!r} are not a PNG image")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
