"""Cards against the models that they describe; what the zoo costs to open."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import BadInput
from zoo.families.card import find_card, load_cards, weights_licence

CARDS = load_cards()


def test_every_model_of_every_family_has_a_card() -> None:
    pytest.importorskip("torch")
    from zoo.families import families

    assert sorted(CARDS) == sorted(name for one in families() for name in one.sizes)
    for one in families():
        for name in one.sizes:
            card = CARDS[name]
            assert card.family == one.name
            assert card.weights_licence == weights_licence(one.name)
            assert card.source and card.code_licence


@pytest.mark.parametrize("model", CARDS)
def test_measured_facts_are_those_of_the_trace(model: str) -> None:
    torch = pytest.importorskip("torch")
    from zoo.factory import build

    card = CARDS[model]
    with torch.device("meta"):
        graph = build(model).graph(card.input_px)
    table = graph.table(None if graph.fixed_px else card.input_px)
    assert (int(table.total(table.params)), int(2 * table.total(table.macs))) == (
        card.measured_params,
        card.measured_flops,
    )
    # Within what the ways of counting in docs/benchmarks/zoo-sizes.md can explain.
    assert card.measured_flops / 1e9 == pytest.approx(card.gflops, rel=0.05)
    assert card.measured_params / 1e6 == pytest.approx(card.params_m, rel=0.09)


def test_quoted_facts_are_those_of_the_table(shared_dir: Path) -> None:
    import csv

    with (shared_dir / "facts" / "published_detectors.csv").open(encoding="utf-8") as lines:
        rows = {row["model"].lower().replace("-", ""): row for row in csv.DictReader(lines)}
    names = {"yolov7": "yolov7l"}
    seen = 0
    for card in CARDS.values():
        plain = card.model.replace("-", "")
        row = rows.get(names.get(plain, plain))
        if row is None:
            assert card.model in ("damo-yolo-ns", "damo-yolo-nm", "damo-yolo-nl", "yolov7-tiny")
            continue
        seen += 1
        assert (card.ap, card.params_m, card.gflops) == tuple(
            float(row[k]) for k in ("map_val_50_95", "params_m", "flops_g")
        )
        if row["t4_trt10_fp16_ms"]:
            assert float(row["t4_trt10_fp16_ms"]) in [one.ms for one in card.latencies]
    assert seen == 26


def test_names_without_dashes_and_unknown_names() -> None:
    assert find_card("YOLOXs").model == "yolox-s"
    assert dataclasses.asdict(find_card("yolo26n"))["family"] == "yolo26"
    with pytest.raises(BadInput, match="yolo26n"):
        find_card("yolo26nn")


def test_the_largest_model_builds_and_traces() -> None:
    torch = pytest.importorskip("torch")
    from zoo.factory import build

    with torch.device("meta"):
        graph = build("yolo26x").graph(640)
    assert len(graph) > 200


def test_importing_the_zoo_brings_no_guest() -> None:
    root = Path(__file__).resolve().parents[3]
    code = (
        "import sys, zoo, zoo.families.card; print(*sorted(set(sys.modules) & {'torch', 'onnx', 'onnxruntime', 'cv2',"
        " 'PIL', 'openvino'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_importing_every_family_brings_no_exporter() -> None:
    pytest.importorskip("torch")
    root = Path(__file__).resolve().parents[3]
    code = (
        "import sys, zoo.families as f, zoo.weights.checkpoint, zoo.graphs.trace; f.families();"
        " print(*sorted(set(sys.modules) & {'onnx', 'onnxruntime', 'cv2', 'PIL', 'openvino', 'torchvision'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
