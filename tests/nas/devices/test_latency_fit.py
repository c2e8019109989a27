"""Fitting: a known device is found again; shipped profiles are what their commands make of the data."""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from nas.devices.fit import Problem, Setting, fit_model, left_out
from nas.devices.fitting.check import check_profile, recorded_option
from nas.devices.fitting.errors import error_summary
from nas.devices.fitting.fit_profile import ProfileDescription, fit_profile
from nas.devices.fitting.flops_line import flops_line
from nas.devices.measured.networks import read_measured
from nas.devices.model import LatencyModel
from nas.devices.profile import SHIPPED, DeviceProfile, load_device
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from workbench.errors import BadInput

ROCKCHIP = ["rk3588-npu", "rk3576-npu", "rk3562-npu"]
SOURCED = ["t4", "jetson-orin", "raspberry-pi-5", "raspberry-pi-5-ncnn", "hailo-8", *ROCKCHIP]
"""Profiles that ``benchmarks/latency_fit.py`` fits to published figures of several sources."""
T4 = load_device("t4")
PROFILES = {path.stem: load_device(path) for path in sorted(SHIPPED.glob("*.yaml"))}
ROOT = Path(__file__).resolve().parents[3]
T4_DATA = ROOT.parent / "shared" / "t4"


def network(name: str, width: int, depth: int) -> Graph:
    g = GraphBuilder(3)
    x = -1
    for level in range(5):
        x = g.conv(x, width * 2**level, 3, 2, act="silu")
        for _ in range(depth):
            x = g.join("add", x, g.conv(g.conv(x, width * 2**level // 2, 1), width * 2**level, 3))
    return Graph(g.ops, g.inputs, [x], name)


def write(folder: Path, slower: float = 1.0) -> Path:
    sizes = [(8, 1), (16, 2), (32, 1), (32, 4), (64, 3), (24, 9)]
    graphs = [network(f"net{i}", width, depth) for i, (width, depth) in enumerate(sizes)]
    lines = ["model,family,input_px,my_ms"]
    with gzip.open(folder / "graphs.jsonl.gz", "wt") as file:
        for i, graph in enumerate(graphs):
            file.write(json.dumps(graph.to_json()) + "\n")
            lines.append(f"{graph.name},family{i % 3},640,{T4.latency_ms(graph, 640) * slower}")
    (folder / "latency.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("slower", [1.0, 300.0])
def test_a_device_that_obeys_the_model_is_found_again(tmp_path: Path, slower: float) -> None:
    profile, rows = fit_profile(write(tmp_path, slower), ProfileDescription("found"))
    assert profile.points == len(rows) == 6
    assert profile.error["mape_percent"] < 10
    assert profile.error["fitted_mape_percent"] < 5
    assert profile.error["mape_percent"] < profile.error["flops_line_mape_percent"]
    assert all(row.fitted_ms and row.fitted_ms > 0 for row in rows)


def test_left_out_forecasts_do_not_see_their_own_family(tmp_path: Path) -> None:
    folder = write(tmp_path)
    _, honest = fit_profile(folder, ProfileDescription("a"))
    text = (folder / "latency.csv").read_text().splitlines()
    cells = text[1].split(",")
    text[1] = ",".join([*cells[:3], str(float(cells[3]) * 3)])
    (folder / "latency.csv").write_text("\n".join(text) + "\n")
    _, other = fit_profile(folder, ProfileDescription("a"))
    moved = [abs(a.predicted_ms / b.predicted_ms - 1) > 1e-9 for a, b in zip(honest, other, strict=True)]
    assert moved == [row.family != "family0" for row in honest]


def test_one_family_alone_cannot_be_judged(tmp_path: Path) -> None:
    folder = write(tmp_path)
    table = folder / "latency.csv"
    table.write_text(table.read_text().replace("family1", "family0").replace("family2", "family0"))
    with pytest.raises(BadInput, match="two families at least"):
        fit_profile(folder, ProfileDescription("one"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "tpu"}, "kind of device 'tpu'"),
        ({"precision": "FP7"}, "precision 'FP7'"),
        ({"activations": "odd"}, "activations 'odd'"),
    ],
)
def test_a_setting_that_is_not_known_is_named(setting: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Setting(**setting)  # type: ignore[arg-type]


def test_figures_by_hand(tmp_path: Path) -> None:
    profile = DeviceProfile("d", "h", "r", "FP16", 1, 0.1, T4.model, T4.fixed_ms)
    _, rows = check_profile(profile, write(tmp_path, 1 / 1.1))
    found = error_summary(rows)
    assert found["mape_percent"] == pytest.approx(10, abs=0.01) and found["kendall_tau"] == 1
    assert found["mean_percent_by_family"] == pytest.approx({f"family{i}": 10 for i in range(3)}, abs=0.01)
    assert "mape_percent_without_attention" not in found


def test_a_line_through_flops_is_right_where_flops_are_all(tmp_path: Path) -> None:
    _, points = read_measured(write(tmp_path))
    tables = [p.table for p in points]
    flops = np.array([float(t.total(t.macs)) for t in tables])
    ms = 0.5 + 1e-9 * flops
    line = flops_line(Problem(tables, ms), [p.family for p in points])
    assert line == pytest.approx(ms, rel=1e-3)


def test_a_fit_is_the_same_every_time(tmp_path: Path) -> None:
    _, points = read_measured(write(tmp_path))
    problem = Problem([p.table for p in points], [p.ms for p in points])
    assert fit_model(problem, Setting()) == fit_model(problem, Setting())
    with pytest.raises(BadInput, match="one group only"):
        left_out(problem, ["a"] * len(points), Setting())


def test_every_shipped_profile_says_where_it_comes_from_and_holds_no_data() -> None:
    expected = {
        "t4",
        "jetson-orin",
        "raspberry-pi-5-ncnn",
        "hailo-8",
        "rk3562-npu",
        "rk3576-npu",
        "rk3588-npu",
        "a40",
        "v100",
        "jetson-nano",
        "intel-i7-10875h",
        "khadas-vim3-npu",
        "raspberry-pi-4",
        "raspberry-pi-4-tflite",
        "raspberry-pi-4-tflite-int8",
        "raspberry-pi-5",
        "orange-pi-5-npu",
    }
    assert set(PROFILES) == expected
    coefficients = set(LatencyModel.__dataclass_fields__)
    for name, profile in PROFILES.items():
        assert profile.name == name
        if name in SOURCED:
            assert profile.command == f"python benchmarks/latency_fit.py --fit {name}"
        else:
            # The command as it was run: profiles were in another folder then, and their digests name runs.
            assert profile.command.startswith("nas devices fit ../shared/")
            assert f"--out nas/latency/devices/{name}.yaml" in profile.command
        assert "left out" in profile.fitted_on or "held out" in profile.fitted_on
        assert set(profile.model.to_dict()) <= coefficients
        tables = [value for value in profile.error.values() if isinstance(value, dict)]
        # Errors of families and sources, not of networks: what was published cannot be read back.
        assert max(len(value) for value in tables) < 16 and profile.points >= (9 if name in ROCKCHIP else 20)


@pytest.mark.parametrize("name", ROCKCHIP)
def test_npus_in_int8_are_foretold_within_15_percent(name: str) -> None:
    profile = PROFILES[name]
    assert profile.precision == "INT8" and profile.error["mape_percent"] <= 15
    assert profile.error["mape_percent"] < 0.6 * profile.error["flops_line_mape_percent"]


@pytest.mark.parametrize("name", [name for name, p in PROFILES.items() if "yolobench" in p.command])
def test_what_the_profiles_promise(name: str) -> None:
    error = PROFILES[name].error
    npu = name.endswith("-npu")
    assert error["mape_percent"] <= (15 if npu else 6)
    assert error["kendall_tau"] >= (0.92 if npu else 0.94)
    assert error["mape_percent"] < error["flops_line_mape_percent"]


def again(name: str) -> DeviceProfile:
    """The profile as its own command makes it today."""
    old = PROFILES[name]
    data = recorded_option(old, "DATA") or ""
    if not (ROOT / data).exists():
        pytest.skip(f"needs {data}")
    profile, _ = fit_profile(
        ROOT / data, ProfileDescription(name, precision=old.precision), recorded_option(old, "--column"),
        kind=recorded_option(old, "--kind") or "gpu", activations=recorded_option(old, "--activations") or "",
    )  # fmt: skip
    return profile


def assert_same(found: DeviceProfile, shipped: DeviceProfile) -> None:
    for key in ("mape_percent", "kendall_tau", "fitted_mape_percent"):
        assert found.error[key] == pytest.approx(shipped.error[key], rel=0.03)
    for name, value in shipped.model.to_dict().items():
        assert getattr(found.model, name) == pytest.approx(value, rel=0.05, abs=1e-9)


def test_what_the_profiles_of_several_sources_promise() -> None:
    assert T4.error["protocol_mape_percent"] <= 6 and T4.error["protocol_kendall_tau_5_percent_apart"] >= 0.95
    for name in SOURCED:
        error = PROFILES[name].error
        assert error["mape_percent"] < error["flops_line_mape_percent"]
    for name in ("t4", "raspberry-pi-5"):
        assert 85 <= PROFILES[name].error["interval_coverage_percent"] <= 95
    assert PROFILES["raspberry-pi-5"].error["protocol_mape_percent"] <= 6


def test_levels_of_publishers_are_within_a_fifth_of_the_reference() -> None:
    for name in SOURCED:
        profile = PROFILES[name]
        for source, level in profile.sources.items():
            assert 0.8 <= level["factor"] <= 1.25, f"{name}: {source}"
        assert not profile.sources or profile.sources[profile.protocol]["fixed_ms"] == profile.fixed_ms


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCED)
def test_the_profiles_of_several_sources_are_their_fits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not T4_DATA.is_dir():
        pytest.skip("needs ../shared")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(ROOT)
    script = importlib.import_module("latency_fit")
    assert list(script.SOURCED) == SOURCED
    assert_same(script.SOURCED[name].fit(name), PROFILES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PROFILES if name not in SOURCED])
def test_the_other_shipped_profiles_are_their_fits(name: str) -> None:
    assert_same(again(name), PROFILES[name])


def test_the_shipped_t4_profile_foretells_its_own_data() -> None:
    if not T4_DATA.is_dir():
        pytest.skip("needs ../shared/t4")
    column, rows = check_profile(T4, T4_DATA)
    assert column == "t4_trt_fp16_ms" and len(rows) == 35
    assert error_summary(rows)["mape_percent"] < 5


def test_a_lowered_architecture_costs_what_its_traced_network_costs() -> None:
    if not T4_DATA.is_dir():
        pytest.skip("needs ../shared/t4")
    from search_spaces.lowering import lower
    from search_spaces.published import PUBLISHED

    with gzip.open(T4_DATA / "graphs.jsonl.gz", "rt") as lines:
        traced = {graph.name: graph for graph in (Graph.from_json(json.loads(line)) for line in lines)}
    for size in "tsl":
        lowered = T4.latency_ms(lower(PUBLISHED[f"damo-yolo-{size}"]), 640)
        assert lowered == pytest.approx(T4.latency_ms(traced[f"DAMO-YOLO{size}"]), rel=0.002)
