"""Folders of measured networks: what is read, and one line for what cannot be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from nas.devices.measured.networks import family_of, read_measured
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Op
from workbench.errors import BadInput


def folder(path: Path, table: str = "model,input_px,my_ms\nnet1,64,2.5\nnet1,96,\nnet2,32,1.5\n") -> Path:
    with gzip.open(path / "graphs.jsonl.gz", "wt") as file:
        for name in ("net1", "net2"):
            g = GraphBuilder(3)
            x = g.conv(-1, 8, 3, 2, act="silu")
            file.write(
                json.dumps(Graph([*g.ops, Op("exp", (x,), part="decode")], g.inputs, [x], name).to_json()) + "\n"
            )
    (path / "latency.csv").write_text(table)
    return path


def test_networks_sizes_and_families(tmp_path: Path) -> None:
    column, points = read_measured(folder(tmp_path))
    assert column == "my_ms"
    assert [(p.name, p.family, p.input_px, p.ms) for p in points] == [
        ("net1", "net1", 64, 2.5),
        ("net2", "net2", 32, 1.5),
    ]
    assert points[0].table.kinds == ("conv",) and not points[0].has_attention


@pytest.mark.parametrize(("name", "family"), [("yolo6s-d33w25", "yolo6"), ("yolo3d1w5", "yolo3"), ("plain", "plain")])
def test_a_family_is_the_name_up_to_its_first_number(name: str, family: str) -> None:
    assert family_of(name) == family


def test_a_column_is_named_when_there_are_two(tmp_path: Path) -> None:
    folder(tmp_path, "arch,kin,input_px,a_ms,b_ms\nnet1,x,64,1,2\n")
    with pytest.raises(BadInput, match="name one with --column"):
        read_measured(tmp_path)
    assert read_measured(tmp_path, "b_ms")[1][0].ms == 2
    assert read_measured(tmp_path, fallback="a_ms")[0] == "a_ms"
    assert read_measured(tmp_path, "a_ms", family_from="kin")[1][0].family == "x"


BAD = [
    ("", "empty"),
    ("model,input_px,my_ms\n", "no latencies"),
    ("model,input_px,my_ms\nnet1,64,-1\n", "line 2: my_ms='-1' must be a finite number above 0"),
    ("model,input_px,my_ms\nnet1,64,nan\n", "line 2: my_ms='nan'"),
    ("model,input_px,my_ms\nnet1,64,fast\n", "line 2: my_ms='fast'"),
    ("model,input_px,my_ms\nnet1,inf,1\n", "input_px='inf'"),
    ("model,input_px,my_ms\nnet1,64.5,1\n", "whole number of pixels"),
    ("model,input_px,my_ms\nghost,64,1\n", "'ghost' has no graph"),
    ("model,input_px,speed\nnet1,64,1\n", r"exactly one \*_ms column"),
    ("name,input_px,my_ms\nnet1,64,1\n", "'model'"),
    ("model,my_ms\nnet1,1\n", "'input_px'"),
]


@pytest.mark.parametrize(("table", "message"), BAD)
def test_a_bad_table_is_one_line_that_names_it(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read_measured(folder(tmp_path, table))
    assert "\n" not in str(caught.value)


def test_files_that_are_broken_or_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a folder"):
        read_measured(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="cannot read"):
        read_measured(tmp_path)
    folder(tmp_path)
    whole = (tmp_path / "graphs.jsonl.gz").read_bytes()
    for broken in (whole[: len(whole) // 2], b"not gzip", whole[:20] + b"\xff\xff\xff\xff" + whole[24:]):
        (tmp_path / "graphs.jsonl.gz").write_bytes(broken)
        with pytest.raises(BadInput, match=r"cannot read .*graphs\.jsonl\.gz|graphs\.jsonl\.gz, line"):
            read_measured(tmp_path)
    (tmp_path / "graphs.jsonl.gz").unlink()
    with pytest.raises(BadInput, match="holds neither"):
        read_measured(tmp_path)
    with gzip.open(tmp_path / "graphs.jsonl.gz", "wt") as file:
        file.write("[1, 2]\n")
    with pytest.raises(BadInput, match="line 1 must be one graph object"):
        read_measured(tmp_path)


def test_onnx_files_stand_for_graphs_and_a_corrupt_one_is_named(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((8, 3, 3, 3), dtype=np.float32), "w")
    node = helper.make_node("Conv", ["image", "w"], ["out"], strides=[2, 2], pads=[1, 1, 1, 1])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("image", [1, 3, 64, 64]), ("out", [1, 8, 32, 32]))
    ]
    model = helper.make_model(
        helper.make_graph([node], "net", ends[:1], ends[1:], [weight]), opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.save(model, tmp_path / "net1.onnx")
    (tmp_path / "latency.csv").write_text("model,input_px,my_ms\nnet1,64,2.5\n")
    (point,) = read_measured(tmp_path)[1]
    assert point.table.macs.sum() == 8 * 3 * 9 * 32 * 32
    (tmp_path / "net1.onnx").write_bytes(b"corrupt")
    with pytest.raises(BadInput, match="net1") as caught:
        read_measured(tmp_path)
    assert "\n" not in str(caught.value)
