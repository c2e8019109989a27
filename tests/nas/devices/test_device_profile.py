"""DeviceProfile: integer ticks, names, and errors that teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from nas.devices.profile import device_names, load_device, profile_from_dict, user_folder
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.ops import Op
from workbench.errors import BadInput

T4 = load_device("t4")


def small(width: object = 32, depth: object = 2) -> Graph:
    g = GraphBuilder(3, part="backbone")
    x = g.conv(-1, width, 3, 2, act="silu")
    for _ in g.times(depth):
        x = g.conv(x, width, 3, act="silu")
    g.part = "head"
    g.conv(x, 80, 1)
    return Graph(g.ops, g.inputs, [len(g.ops) - 1])


def test_latency_is_exactly_the_sum_of_its_ticks() -> None:
    graph = small()
    table = graph.table(320)
    ticks = T4.op_ticks(table)
    assert ticks.dtype == np.int64 and (ticks >= 0).all()
    total = int((ticks * table.count.astype(int)).sum()) + T4.fixed_ticks
    assert T4.latency_ms(graph, 320) == total * T4.tick_ms
    assert T4.tick_ms == pytest.approx(1e-4)
    assert T4.latency_ms(graph, 320) > T4.latency_ms(graph, 160) > T4.fixed_ms - T4.tick_ms


def test_a_tick_is_half_a_tick_away_from_the_model_at_most() -> None:
    table = small().table(320)
    assert np.abs(T4.op_ticks(table) * T4.tick_ms - T4.model.op_ms(table)).max() <= T4.tick_ms / 2 * (1 + 1e-9)


def test_many_candidates_at_once_have_the_latency_of_each() -> None:
    widths, depths = np.array([16, 32, 40]), np.array([1, 3, 0])
    totals = T4.total_ticks(small(widths, depths).table(320))
    for total, width, depth in zip(totals, widths, depths, strict=True):
        assert total * T4.tick_ms == T4.latency_ms(small(int(width), int(depth)), 320)


def test_parts_add_up() -> None:
    parts = T4.parts_ms(small(), 320)
    assert list(parts) == ["backbone", "head", "fixed"]
    assert sum(parts.values()) == pytest.approx(T4.latency_ms(small(), 320))


def test_decoding_is_in_the_fixed_time_and_counts_nothing() -> None:
    bare = small()
    decoded = Graph([*bare.ops, Op("exp", (len(bare) - 1,), part="decode")], bare.inputs)
    assert T4.latency_ms(decoded, 320) == T4.latency_ms(bare, 320)
    assert "decode" not in T4.parts_ms(decoded, 320)


def test_unknown_device_names_its_neighbours() -> None:
    with pytest.raises(BadInput, match="unknown device 't5': did you mean t4"):
        load_device("t5")


def test_a_users_own_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = T4.to_dict() | {"name": "mine", "fixed_ms": 5.0}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    monkeypatch.setenv("NAS_DEVICES", str(tmp_path))
    assert {"t4", "mine"} <= set(device_names())
    assert load_device("mine").fixed_ms == 5.0
    assert load_device(tmp_path / "mine.yaml") == load_device(str(tmp_path / "mine.yaml")) == load_device("mine")


def test_the_users_folder_is_the_one_the_pages_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_DEVICES", raising=False)
    assert user_folder() == Path.home() / ".config" / "nas" / "devices"


def test_yaml_round_trip_is_exact() -> None:
    assert profile_from_dict(yaml.safe_load(T4.to_yaml())) == T4


BAD = [
    ({"fixed_ms": float("nan")}, "fixed_ms"),
    ({"fixed_ms": -1.0}, "fixed_ms"),
    ({"fixed_ms": "fast"}, "fixed_ms"),
    ({"resolution_us": 0}, "resolution_us"),
    ({"batch": 0}, "batch"),
    ({"batch": 1.5}, "batch"),
    ({"name": ""}, "name"),
    ({"hardware": None}, "hardware"),
    ({"model": None}, "model"),
    ({"model": {"conv_tflops": 1.0}}, "pointwise_tflops"),
    ({"model": T4.model.to_dict() | {"step_ns": float("nan")}}, "step_ns"),
    ({"model": T4.model.to_dict() | {"conv_tflops": -3.0}}, "conv_tflops"),
    ({"model": T4.model.to_dict() | {"padded_channels": 1.5}}, "padded_channels"),
    ({"error": {"mape_percent": float("nan")}}, "mape_percent"),
    ({"colour": "green"}, "colour"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
def test_a_bad_profile_is_one_line_that_names_the_field(tmp_path: Path, change: dict[str, object], field: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(T4.to_dict() | change))
    with pytest.raises(BadInput, match=field) as caught:
        load_device(path)
    assert "\n" not in str(caught.value) and "bad.yaml" in str(caught.value)


NEEDED = ["name", "hardware", "runtime", "precision", "batch", "resolution_us", "fixed_ms", "model"]


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_field_is_named(key: str) -> None:
    data = T4.to_dict()
    del data[key]
    with pytest.raises(BadInput, match=key):
        profile_from_dict(data)


@pytest.mark.parametrize("text", ["[1, 2", "- a list", "", "\x00"])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"odd\.yaml") as caught:
        load_device(path)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        load_device(tmp_path / "none.yaml")
