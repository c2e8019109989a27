"""Passes over real networks on a real runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.devices.calibration.chains import designed_chains
from nas.devices.calibration.journal import Journal
from nas.devices.calibration.measure import measure_networks
from nas.devices.calibration.networks import CalibrationNetwork
from nas.devices.network import Network
from nas.devices.runtimes.runtime import Target
from workbench.errors import BadInput

pytest.importorskip("onnxruntime")


TARGET = Target("cpu", "onnxruntime", 1)


def test_passes_share_the_time_and_failures_are_named(tmp_path: Path) -> None:
    """Real networks on a real runtime; one of them cannot be run."""
    graphs = designed_chains(6, 5)

    def broken() -> Network:
        raise BadInput("no such network")

    chosen = [
        *(CalibrationNetwork(g.name, "chain", False, lambda g=g: Network.of_graph(g)) for g in graphs),  # type: ignore[misc]
        CalibrationNetwork("broken", "chain", False, broken),
    ]
    journal = Journal(tmp_path / "journal.jsonl", {})
    said: list[str] = []
    measure_networks(chosen, TARGET, journal, 30.0, said.append)
    assert journal.failed == {"broken": "no such network"}
    assert sorted((v.network, v.number) for v in journal.visits) == sorted(
        (g.name, n) for g in graphs for n in (1, 2, 3, 4)
    )
    assert all(v.ms > 0 and v.runs >= 3 for v in journal.visits)
    assert said and "pass 1" in said[0] and "left" in said[0]
    before = len(journal.visits)
    measure_networks(chosen, TARGET, journal, 30.0, said.append)
    assert len(journal.visits) == before


def test_a_runtime_that_runs_nothing_is_refused(tmp_path: Path) -> None:
    def broken() -> Network:
        raise BadInput("no such network")

    chosen = [CalibrationNetwork(f"broken-{i}", "chain", False, broken) for i in range(5)]
    with pytest.raises(BadInput, match="2 of 5 networks cannot be run here"):
        measure_networks(chosen, TARGET, Journal(tmp_path / "journal.jsonl", {}), 5.0, lambda text: None)
