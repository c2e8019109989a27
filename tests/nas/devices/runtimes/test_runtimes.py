"""Networks in real runtimes, and a runtime of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.devices.bench import bench
from nas.devices.find_network import find_network
from nas.devices.network import Network
from nas.devices.runtimes import RUNTIMES
from nas.devices.runtimes.runtime import Runtime, Session, Target, example_input, require_fp32
from nas.devices.session import choose_target, open_network, runtime_text
from nas.devices.timing import Plan, time_networks
from tests.nas.devices.foreign import chain, foreign, saved
from workbench.errors import BadInput

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def test_torch_does_not_run_foreign_files(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(BadInput, match="torch does not run"):
        open_network(find_network(saved(tmp_path, foreign())), choose_target(runtime="torch", threads=1))


def test_ncnn_takes_neither_foreign_files_nor_other_devices(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    with pytest.raises(BadInput, match="NCNN does not read"):
        open_network(find_network(saved(tmp_path, foreign())), choose_target(runtime="ncnn", threads=1))
    with pytest.raises(BadInput, match="does not run on CUDA"):
        choose_target("cuda", "ncnn")
    with pytest.raises(BadInput, match="NCNN is measured in FP32"):
        choose_target(runtime="ncnn", precision="FP16")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch", "ncnn"])
def test_every_runtime_runs_ours_and_sees_which_is_larger(runtime: str) -> None:
    pytest.importorskip({"onnxruntime": "onnxruntime"}.get(runtime, runtime))
    target = choose_target(runtime=runtime, threads=1)
    assert runtime_text(target).endswith(", 1 thread") and any(c.isdigit() for c in runtime_text(target))
    small, large = (Network.of_graph(chain(width, depth), (96, 96)) for width, depth in ((8, 1), (64, 6)))
    timings = time_networks([open_network(small, target), open_network(large, target)], Plan(seconds=0.3, rounds=3))
    # 64^2 x 6 / 8^2 is 384 times the work; on the busiest machine more than three times the time.
    assert timings[1].p50_ms > 3 * timings[0].p50_ms > 0


def test_examples_fill_open_dimensions() -> None:
    assert example_input(["n", 3, None, "w"], np.dtype(np.float32), (64, 96), 0).shape == (1, 3, 64, 96)
    sizes = example_input([1, 2], np.dtype(np.int64), (640, 640), 1)
    assert sizes.tolist() == [[640, 640]]
    bytes_ = example_input([1, 3, 8, 8], np.dtype(np.uint8), (8, 8), 0)
    assert bytes_.dtype == np.uint8 and bytes_.max() > 100
    floats = example_input([1, 3, 8, 8], np.dtype(np.float32), (8, 8), 0)
    assert floats.min() >= 0 and floats.max() <= 1


class ToyRuntime(Runtime):
    """Runs nothing: every run is counted."""

    title = "Toy"
    package = "numpy"

    def __init__(self) -> None:
        self.runs = 0

    def require(self, target: Target) -> None:
        require_fp32(target, "Toy")

    def open(self, network: Network, target: Target) -> Session:
        if network.size == (32, 32):
            raise RuntimeError("too small")

        def run() -> None:
            self.runs += 1

        return run


def test_a_runtime_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new runtime is one class and one line."""
    toy = ToyRuntime()
    monkeypatch.setitem(RUNTIMES, "toy", toy)
    target = choose_target(runtime="toy", threads=1)
    assert runtime_text(target).startswith("Toy ") and runtime_text(target).endswith(", 1 thread")
    result = bench([Network.of_graph(chain(), (96, 96))], target, Plan(seconds=0.01, rounds=3))
    assert toy.runs >= 9 and result.to_dict()["runtime"] == runtime_text(target) and "chain-16-2" in str(result)
    with pytest.raises(BadInput, match="Toy cannot run chain-16-2: too small"):
        open_network(Network.of_graph(chain(), (32, 32)), target)
    with pytest.raises(BadInput, match="Toy is measured in FP32"):
        choose_target(runtime="toy", precision="FP16")
