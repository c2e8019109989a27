"""Events come back through TensorBoard's own reader, and HParams sees a row a candidate."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.report.front_plot import front_png
from workbench.errors import BadInput
from workbench.events import METRIC_FOLDER, METRIC_TITLES, EventWriter, Node, png_size


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return events.Reload()


def hparams_data(events: Any, tag: str) -> Any:
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = events.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_scalars_images_and_text_come_back(tmp_path: Path) -> None:
    picture = front_png([1.0, 2.0], [3.0, 4.0], "ms", (2.0, 4.0))
    with EventWriter(tmp_path) as writer:
        for step in range(5):
            writer.scalar("search/best_score", step * 1.5, step * 100)
        writer.image("front", picture, 400)
        writer.text("notes", "# Größe\n`x`", 400)
    events = read(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("search/best_score")] == [(i * 100, i * 1.5) for i in range(5)]
    (image,) = events.Images("front")
    assert (image.encoded_image_string, image.width, image.height) == (picture, *png_size(picture))
    (text,) = events.Tensors("notes")
    assert text.tensor_proto.string_val[0].decode() == "# Größe\n`x`"
    assert events.SummaryMetadata("notes").plugin_data.plugin_name == "text"


def test_one_tag_for_two_kinds_loses_neither(tmp_path: Path) -> None:
    picture = front_png([1.0], [3.0], "ms", (1.0, 3.0))
    with EventWriter(tmp_path) as writer:
        writer.image("best", picture, 1)
        writer.text("best", "words", 1)
        writer.image("best", picture, 2)
        writer.text("best", "more", 2)
    events = read(tmp_path)
    assert len(events.Images("best")) == 2
    assert [t.tensor_proto.string_val[0] for t in events.Tensors("best_text")] == [b"words", b"more"]


def test_a_second_writer_goes_on(tmp_path: Path) -> None:
    for step in (1, 2):
        with EventWriter(tmp_path) as writer:
            writer.scalar("a", step, step)
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2


def test_hparams_rows_and_summary(tmp_path: Path) -> None:
    folder = tmp_path / "study" / "events"
    metrics = {"score": 97.5, "latency_ms": 2.9, "params_m": 16.0, "gflops": 37.0, "layers": 25.0}
    with EventWriter(folder) as writer:
        for name in ("aa", "bb"):
            writer.hparams(f"candidates/{name}", {"stage1.out": 64, "spp": True, "act": "relu", "bad": math.nan}, metrics)
    summary = hparams_data(read(folder), "_hparams_/experiment").experiment
    assert [info.display_name for info in summary.metric_infos] == list(METRIC_TITLES.values())
    assert [info.name.tag for info in summary.metric_infos] == [METRIC_FOLDER + tag for tag in metrics]
    assert [info.name for info in summary.hparam_infos] == ["stage1.out", "spp", "act", "bad"]
    candidate = read(folder / "candidates" / "bb")
    start = hparams_data(candidate, "_hparams_/session_start_info").session_start_info
    assert start.group_name == "bb of study"
    assert start.hparams["stage1.out"].number_value == 64
    assert start.hparams["spp"].bool_value is True
    assert (start.hparams["act"].string_value, start.hparams["bad"].string_value) == ("relu", "nan")
    assert hparams_data(candidate, "_hparams_/session_end_info").HasField("session_end_info")
    assert {tag: candidate.Scalars(METRIC_FOLDER + tag)[0].value for tag in metrics} == pytest.approx(metrics)


def test_tensorboards_own_table(tmp_path: Path) -> None:
    """The table as TensorBoard's HParams backend computes it: one group a candidate, with its metrics."""
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    with EventWriter(tmp_path / "study") as writer:
        for i in range(3):
            writer.hparams(f"candidates/{i}", {"depth": i}, {"score": float(i)})
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    content = runs.PluginRunToTagToContent("hparams")
    assert sorted(content) == ["study", *(f"study/candidates/{i}" for i in range(3))]


@pytest.mark.parametrize("name", ["", "/abs", "../up", "a/../../b"])
def test_candidate_run_stays_inside(tmp_path: Path, name: str) -> None:
    with EventWriter(tmp_path) as writer:
        with pytest.raises(BadInput, match="relative path"):
            writer.hparams(name, {}, {})
        with pytest.raises(BadInput, match="relative path"):
            writer.below(name)


def test_a_network_comes_back_with_edges_shapes_and_facts(tmp_path: Path) -> None:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    nodes = [Node("image", "input", (), ()), Node("stem/conv", "conv", ("image",), (8, 4, 4), {"MFLOPs": "1.5"})]
    with EventWriter(tmp_path) as writer, writer.below("top/1") as one:
        one.graph(nodes)
    found = GraphDef.FromString(read(tmp_path / "top" / "1").Graph().SerializeToString())
    assert [(node.name, node.op, list(node.input)) for node in found.node] == [("image", "input", []), ("stem/conv", "conv", ["image"])]
    conv = found.node[1].attr
    assert conv["MFLOPs"].s == b"1.5" and [dim.size for dim in conv["_output_shapes"].list.shape[0].dim] == [1, 8, 4, 4]


def test_points_come_back_through_tensorboards_own_projector(tmp_path: Path) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    points = np.array([[0.5, -1.0], [2.0, 3.25], [0.0, 1e-9]])
    with EventWriter(tmp_path) as writer:
        writer.embedding('a "b"\\', points, {"score": ["1", "2", "3"], "name\tx": ["a\tb", "c\nd", "e"]})
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    one = config.embeddings[0]
    assert one.tensor_name == 'a "b"\\'
    assert np.allclose(np.loadtxt(tmp_path / one.tensor_path, delimiter="\t"), points)
    assert (tmp_path / one.metadata_path).read_text().splitlines() == ["score\tname x", "1\ta b", "2\tc d", "3\te"]
    with EventWriter(tmp_path) as writer:
        writer.embedding("one", points, {"score": ["1", "2", "3"]})
    assert (tmp_path / one.metadata_path).read_text().splitlines() == ["1", "2", "3"]


def test_bad_folder_and_bad_picture(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write TensorBoard events"):
        EventWriter(tmp_path / "file" / "run")
    with EventWriter(tmp_path / "run") as writer, pytest.raises(BadInput, match="not a PNG"):
        writer.image("x", b"GIF89a", 0)


def test_neither_torch_nor_tensorflow_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from workbench.events import EventWriter\n"
        "assert not any(m.startswith(('tensorboard', 'matplotlib')) for m in sys.modules), 'imported too early'\n"
        f"w = EventWriter({str(tmp_path)!r}); w.text('a', 'b', 0); w.hparams('c', {{'x': 1}}, {{'score': 1.0}}); w.close()\n"
        "assert 'torch' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
