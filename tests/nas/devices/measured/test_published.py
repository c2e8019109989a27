"""Tables of published latencies as measurements."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from nas.devices.measured.published import (
    FIGURE_COLUMNS,
    column_setting,
    is_figure_table,
    publisher_of,
    read_figures,
    read_folder,
)
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from workbench.errors import BadInput


def graphs(folder: Path) -> Path:
    with gzip.open(folder / "graphs.jsonl.gz", "wt") as file:
        for name, width in (("net1", 8), ("net2", 16)):
            g = GraphBuilder(3)
            x = g.conv(-1, width, 3, 2, act="silu")
            graph = Graph(g.ops, g.inputs, [x], name, {"family": "nets"} if name == "net1" else {})
            file.write(json.dumps(graph.to_json()) + "\n")
    return folder


def table(folder: Path, *rows: str) -> Path:
    file = graphs(folder) / "facts.csv"
    file.write_text("\n".join([",".join(FIGURE_COLUMNS), *rows]) + "\n")
    return file


@pytest.mark.parametrize(
    ("column", "device", "runtime", "precision", "host_work"),
    [
        ("jetson_orin_trt_fp16_total_ms", "jetson orin", "TensorRT", "FP16", True),
        ("jetson_orin_cpu_ort_fp32_inference_ms", "jetson orin cpu", "ONNX Runtime", "FP32", False),
        ("raspberrypi5_hailo8_int8_total_ms", "raspberrypi5 hailo8", "not stated", "INT8", True),
        ("nvidia_a40_gpu_tensorrt_ms", "nvidia a40 gpu", "TensorRT", "", None),
        ("khadas_vim3_npu_int16_ms", "khadas vim3 npu", "not stated", "INT16", None),
        ("measured_ms", "not stated", "not stated", "", None),
    ],
)
def test_a_column_says_what_it_is_by_its_words(
    column: str, device: str, runtime: str, precision: str, host_work: bool | None
) -> None:
    where, how, protocol = column_setting(column)
    assert (where.hardware, how.name, how.precision) == (device, runtime, precision)
    assert protocol.host_work is host_work


@pytest.mark.parametrize(
    ("cite", "publisher"),
    [
        ("open-mmlab/mmyolo@8c4d9dc5:docs/en/model_zoo.md", "open-mmlab"),
        ("THU-MIG/yolov10@453c6e38:README.md; THU-MIG/yolov10 issue #44", "THU-MIG"),
        ("my own bench: of May", "my own bench"),
        ("", ""),
    ],
)
def test_publishers(cite: str, publisher: str) -> None:
    assert publisher_of(cite) == publisher


def test_a_folder_is_read_column_by_column(tmp_path: Path) -> None:
    graphs(tmp_path)
    (tmp_path / "latency.csv").write_text(
        "model,family,input_px,t4_trt_fp16_ms,pi_ort_fp32_total_ms,source\n"
        "net1,f1,64,1.5,9,lab/repo@1:x\nnet2,,96,2.5,,\n"
    )
    found = read_folder(tmp_path)
    assert [(r.name, r.family, r.ms, r.device.hardware, r.source, r.input_px) for r in found.rows] == [
        ("net1", "f1", 1.5, "t4", "lab", (64, 64)),
        ("net1", "f1", 9.0, "pi", "lab", (64, 64)),
        ("net2", "net2", 2.5, "t4", tmp_path.name, (96, 96)),
    ]
    assert found.rows[1].protocol.host_work and len(found.graphs) == 2
    assert [r.ms for r in read_folder(tmp_path, "pi_ort_fp32_total_ms").rows] == [9.0]
    with pytest.raises(BadInput, match="no column 'no_ms'"):
        read_folder(tmp_path, "no_ms")


def test_figures_with_a_graph_are_read(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "Net One,net1,64,NVIDIA T4,TensorRT 8.4,FP16,1,1.5,inference only,lab/repo@1:x",
        "Other,,64,NVIDIA T4,TensorRT 8.4,FP16,1,2.5,,lab/repo@1:x",
        "Net Two,net2,96,Phone,TF Lite,,,3.5,as published,else/repo@1:x",
    )
    assert is_figure_table(file) and not is_figure_table(tmp_path) and not is_figure_table(tmp_path / "none.csv")
    first, second = read_figures(file).rows
    assert (first.name, first.family, first.batch, first.protocol.host_work) == ("net1", "nets", 1, False)
    assert (second.runtime.name, second.batch, second.protocol.host_work) == ("TensorFlow Lite", None, None)
    assert second.source == "else" and second.cite == "else/repo@1:x"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("N,ghost,64,d,r,FP16,1,1,w,s", "line 2: model 'ghost' has no graph"),
        ("N,net1,64,d,r,FP16,1,-1,w,s", "line 2: ms='-1'"),
        ("N,net1,nan,d,r,FP16,1,1,w,s", "input_px='nan'"),
        ("N,net1,64,d,r,FP16,zero,1,w,s", "batch='zero'"),
        ("N,net1,64,\x1b[2J,r,FP16,1,1,w,s", "cannot be printed"),
    ],
)
def test_a_bad_figure_is_one_printable_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read_figures(table(tmp_path, row))
    assert str(caught.value).isprintable()
