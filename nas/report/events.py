"""TensorBoard events without torch or TensorFlow: TensorBoard's own writer and message types.

TensorBoard's package takes most of a second to import; it arrives when a writer is made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class EventWriter:
    """Appends to one run folder; opening it again adds a file, so steps simply go on."""

    def __init__(self, folder: str | Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.folder = Path(folder)
        self._open_file = EventFileWriter
        self._writer = EventFileWriter(str(self.folder))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One number of a curve."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(Summary(value=[Summary.Value(tag=tag, simple_value=float(value))]), step)

    def image(self, tag: str, png_bytes: bytes, step: int) -> None:
        """A PNG."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = png_size(png_bytes)
        picture = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png_bytes)
        self._add(Summary(value=[Summary.Value(tag=tag, image=picture)]), step)

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
        self._add(Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]), step)

    def hparams(self, run_name: str, hparams: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """One candidate as a row of the HParams tab: its own sub-run with settings and metrics."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        def plugin(content: Any, tag: str) -> Summary:
            value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content))
            value.tensor.CopyFrom(metadata.NULL_TENSOR)
            return Summary(value=[value])

        start = plugin_data_pb2.SessionStartInfo(group_name=run_name, start_time_secs=time.time())
        for name, value in hparams.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, (int, float)):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = str(value)
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
        writer = self._open_file(str(self.folder / run_name))
        experiment = self._experiment(hparams, metrics)
        for summary in (
            plugin(plugin_data_pb2.HParamsPluginData(experiment=experiment), metadata.EXPERIMENT_TAG),
            plugin(plugin_data_pb2.HParamsPluginData(session_start_info=start), metadata.SESSION_START_INFO_TAG),
            *(Summary(value=[Summary.Value(tag=tag, simple_value=float(value))]) for tag, value in metrics.items()),
            plugin(plugin_data_pb2.HParamsPluginData(session_end_info=end), metadata.SESSION_END_INFO_TAG),
        ):
            writer.add_event(_event(summary, 0))
        writer.close()

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()

    def _experiment(self, hparams: Mapping[str, Any], metrics: Mapping[str, float]) -> Any:
        from tensorboard.plugins.hparams import api_pb2

        infos = []
        for name, value in hparams.items():
            kind = "DATA_TYPE_FLOAT64" if isinstance(value, (int, float)) and not isinstance(value, bool) else "DATA_TYPE_STRING"
            kind = "DATA_TYPE_BOOL" if isinstance(value, bool) else kind
            infos.append(api_pb2.HParamInfo(name=name, type=getattr(api_pb2, kind)))
        shown = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=tag) for tag in metrics]
        return api_pb2.Experiment(hparam_infos=infos, metric_infos=shown)

    def _add(self, summary: Any, step: int) -> None:
        self._writer.add_event(_event(summary, step))


def _event(summary: Any, step: int) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), step=step, summary=summary)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, read from a PNG's header."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
