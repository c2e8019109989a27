"""Levels by source: known levels are found again, the reference is predicted, families left out stay unseen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nas.devices.fit import DataSheet, Problem, Setting
from nas.devices.fitting.fit_profile import ProfileDescription, fit_points
from nas.devices.levels import Levels, fit_levels, left_out_levels
from nas.devices.measured.networks import MeasuredNetwork
from nas.devices.profile import load_device, profile_from_dict
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from workbench.errors import BadInput

T4 = load_device("t4")
SIZES = [(8, 1), (16, 2), (32, 1), (32, 4), (64, 3), (24, 9)]
LEVELS = {"house": (1.0, 0.3), "slow clock": (1.15, 0.3), "long host": (1.0, 0.9)}
"""Factor and fixed milliseconds of three invented laboratories."""


def network(width: int, depth: int) -> Graph:
    g = GraphBuilder(3)
    x = -1
    for level in range(5):
        x = g.conv(x, width * 2**level, 3, 2, act="silu")
        for _ in range(depth):
            x = g.join("add", x, g.conv(g.conv(x, width * 2**level // 2, 1), width * 2**level, 3))
    return Graph(g.ops, g.inputs, [x], f"net{width}-{depth}")


def points(names: tuple[str, ...] = tuple(LEVELS)) -> list[MeasuredNetwork]:
    found = []
    for i, (width, depth) in enumerate(SIZES):
        graph = network(width, depth)
        table = graph.table(640)
        ops = float(table.total(T4.model.op_ms(table)))
        for name in names:
            factor, fixed = LEVELS[name]
            ms = factor * ops + fixed
            found.append(MeasuredNetwork(graph.name, f"family{i % 3}", 640, ms, graph, table, source=name))
    return found


def problem(found: list[MeasuredNetwork]) -> tuple[Problem, list[str], list[str]]:
    made = Problem([p.table for p in found], [p.ms for p in found])
    return made, [p.source for p in found], [p.family for p in found]


def test_known_levels_are_found_again() -> None:
    made, sources, _ = problem(points())
    fit = fit_levels(made, sources, "house", Setting())
    assert fit.levels.reference == "house" and fit.levels.factor["house"] == 1.0
    # Few networks: levels are drawn to those of the reference.
    assert 1.05 < fit.levels.factor["slow clock"] < 1.17 and 0.95 < fit.levels.factor["long host"] < 1.05
    assert fit.levels.fixed_ms["long host"] - fit.levels.fixed_ms["house"] == pytest.approx(0.6, abs=0.2)
    assert np.abs(fit.predict(made, sources) / made.ms - 1).mean() < 0.02


def test_the_jacobian_is_that_of_the_residuals() -> None:
    from nas.devices.levels import _LeveledProblem

    made, sources, _ = problem(points())
    work = _LeveledProblem(made, sources, "house", Setting())
    x = work.first + np.random.default_rng(0).normal(0, 0.05, len(work.first))
    rows = work.jacobian(x)
    for j in range(len(x)):
        step = np.zeros(len(x))
        step[j] = 1e-5
        assert rows[:, j] == pytest.approx((work.residuals(x + step) - work.residuals(x - step)) / 2e-5, abs=1e-4)


def test_left_out_families_are_not_seen_and_need_the_reference() -> None:
    found = points()
    made, sources, families = problem(found)
    honest = left_out_levels(made, sources, families, "house", Setting())
    other = Problem([p.table for p in found], [p.ms * (3 if p.family == "family0" else 1) for p in found])
    moved = np.abs(left_out_levels(other, sources, families, "house", Setting()) / honest - 1) > 1e-9
    assert moved.tolist() == [family != "family0" for family in families]
    alone = ["house" if family == "family0" else "slow clock" for family in families]
    with pytest.raises(BadInput, match="no network of source 'house'"):
        left_out_levels(made, alone, families, "house", Setting())


def test_one_laboratory_has_one_factor() -> None:
    rename = {"house": "lab", "slow clock": "other", "long host": "lab, with host work"}
    made, sources, _ = problem(points())
    levels = fit_levels(made, [rename[name] for name in sources], "lab", Setting()).levels
    assert levels.factor["lab, with host work"] == 1.0 != levels.factor["other"]
    assert levels.fixed_ms["lab, with host work"] - levels.fixed_ms["lab"] == pytest.approx(0.6, abs=0.2)


def test_a_source_that_was_not_fitted_has_the_level_of_the_reference() -> None:
    levels = Levels({"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 1.0})
    assert levels.apply(np.array([3.0, 3.0, 3.0]), ["a", "b", "c"]).tolist() == [3.5, 7.0, 3.5]


def test_a_profile_of_several_sources_keeps_their_levels() -> None:
    profile, rows = fit_points("invented", points(), ProfileDescription("p", precision="FP16"), Setting(), "house")
    assert profile.protocol == "house" and list(profile.sources) == list(LEVELS)
    assert profile.sources["slow clock"]["points"] == len(SIZES)
    again = profile_from_dict(profile.to_dict())
    assert again.to_dict() == profile.to_dict()
    house, slow = ([r for r in rows if r.source == name][-1] for name in ("house", "slow clock"))
    assert house.fitted_ms is not None and slow.fitted_ms is not None
    assert profile.as_measured_by("slow clock", house.fitted_ms) == pytest.approx(slow.fitted_ms)
    assert profile.as_measured_by("nobody", 2.0) == profile.as_measured_by("", 2.0) == 2.0
    # One that says less than the sources of the fit has their mean.
    long, short = {"points": 3, "factor": 1.0, "fixed_ms": 9.0}, {"points": 1, "factor": 1.0, "fixed_ms": 1.0}
    lab = {"lab": short, "lab, with host work of A": long, "lab, with host work of B": short}
    host = dataclasses.replace(profile, fixed_ms=1.0, protocol="lab", sources=lab)
    assert host.as_measured_by("lab, with host work", 2.0) == pytest.approx(1.0 + (3 * 9 + 1) / 4)
    with pytest.raises(BadInput, match="one of the sources house, slow clock, long host"):
        profile_from_dict({**profile.to_dict(), "protocol": "moon"})


def test_a_profile_of_one_source_has_no_levels() -> None:
    profile, _ = fit_points("invented", points(("house",)), ProfileDescription("p", precision="FP16"), Setting())
    assert not profile.sources and "sources" not in profile.to_dict() and "protocol" not in profile.to_dict()


def test_a_data_sheet_sets_starts_in_absolute_units() -> None:
    starts = Setting(known=DataSheet(320.0, 65.0).starts()).starts()
    assert starts["memory_gbs"].value == pytest.approx(288) and starts["conv_tflops"].value == pytest.approx(39)
    assert starts["conv_tflops"].unit == starts["step_ns"].unit == "plain"


def test_sources_of_the_reference_s_laboratory_alone() -> None:
    rename = {"house": "lab", "slow clock": "lab, battery", "long host": "lab, with host work"}
    made, sources, _ = problem(points())
    fit = fit_levels(made, [rename[name] for name in sources], "lab", Setting())
    assert set(fit.levels.factor.values()) == {1.0}
