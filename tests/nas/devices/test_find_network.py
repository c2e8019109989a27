"""Networks by name: which size they run at, and foreign ONNX files made ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.devices.find_network import find_network
from nas.devices.session import choose_target, open_network
from tests.nas.devices.foreign import foreign, saved
from tests.search_spaces.necks.cases import HEADS, NECKS, detector
from workbench.errors import BadInput

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("dims", "asked", "size"),
    [
        ((1, 3, 64, 64), None, (64, 64)),
        (("n", 3, 64, 96), None, (64, 96)),
        ((0, 3, 0, 0), 128, (128, 128)),
        (("batch", 3, "height", "width"), 128, (128, 128)),
        (("batch", 3, "height", "width"), None, (640, 640)),
    ],
)
def test_foreign_files_are_costed_and_run_at_one_size(
    dims: tuple[Any, ...], asked: int | None, size: tuple[int, int], tmp_path: Path
) -> None:
    network = find_network(saved(tmp_path, foreign(dims)), asked)
    assert network.size == size
    table = network.graph.table(network.table_px)
    assert table.total(table.macs) == 8 * 3 * 9 * size[0] * size[1]
    assert [op.kind for op in network.graph] == ["conv", "maxpool", "upsample", "add"]
    assert network.graph.ops[0].name == "model.0::Conv/α"
    session = open_network(network, choose_target(threads=1))
    session()


def test_a_size_that_a_file_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="bound to 64 x 64 pixels and cannot run at 128"):
        find_network(saved(tmp_path, foreign()), 128)
    with pytest.raises(BadInput, match="multiple of 32"):
        find_network("damo-yolo-ns", 100)


def test_an_architecture_runs_at_multiples_of_its_coarsest_stride(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(detector(NECKS["repgfpn"], (8, 16), HEADS["plain"]).to_yaml())
    assert find_network(str(path), 112).size == (112, 112)
    with pytest.raises(BadInput, match="multiple of 16"):
        find_network(str(path), 120)


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    path = saved(tmp_path, foreign(), save_as_external_data=True, location="beside.bin", size_threshold=100)
    network = find_network(path)
    open_network(network, choose_target(threads=1))()
    (tmp_path / "beside.bin").unlink()
    costed = find_network(path)  # costs need shapes alone
    assert costed.graph.table().total(costed.graph.table().macs) > 0
    with pytest.raises(BadInput, match="weights beside it cannot be read"):
        open_network(costed, choose_target(threads=1))


def test_zoo_models_run_to_their_raw_maps() -> None:
    pytest.importorskip("torch")
    network = find_network("yolox-nano", 64)
    assert network.size == (64, 64)
    session = ort.InferenceSession(network.onnx(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": np.zeros((1, 3, 64, 64), dtype=np.float32)})
    assert {value.shape[-2:] for value in found} == {(8, 8), (4, 4), (2, 2)}, "no decoding: three levels of maps"
