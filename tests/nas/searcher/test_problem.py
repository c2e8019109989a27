"""A search problem is typed from the parser to the result, and comes back from the stored settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

import nas
from nas.budgets import Budget
from nas.devices.profile import load_device
from nas.searcher.settings import _canonical, default_name, problem_from_settings, value_digest
from search_spaces.space_file import load_space
from workbench.errors import BadInput


def test_the_result_carries_the_problem_and_a_finished_run_gives_it_back(tmp_path: Path) -> None:
    result = nas.search(
        ["t4:6ms", "40Mparams"], ["t4", "v100"], space="bottleneck", grid=32, strategy="random", steps=3000, seed=3,
        runs=tmp_path, pictures=False,
    )  # fmt: skip
    problem = result.problem
    assert problem.budgets == (Budget("latency_ms", 6.0, device="t4"), Budget("params", 40e6))
    assert [profile.name for profile in problem.devices] == ["t4", "v100"]
    assert (problem.grid, problem.seed, problem.scope, problem.input_px) == (32, 3, "detector", 640)
    stored = yaml.safe_load((result.folder / "settings.yaml").read_text())
    again = problem_from_settings(stored)
    assert again == problem
    changed = stored | {"space_digest": "0" * 12}
    with pytest.raises(BadInput, match="has changed since the search"):
        problem_from_settings(changed)


def test_settings_of_a_default_run_are_what_they_were(tmp_path: Path) -> None:
    result = nas.search("5GFLOPs", space="mob", grid=32, score="maxent", runs=tmp_path, pictures=False)
    digest = result.settings["space_digest"]
    assert result.settings == {
        "budget": ["5GFLOPs"], "device": None, "space": "mob", "space_digest": digest, "device_digest": None,
        "strategy": "exact", "score": "maxent", "weights": [0.0, 0.0, 1.0, 1.0, 16.0], "scope": "detector",
        "input_px": 640, "grid": 32, "seed": 0,
    }  # fmt: skip
    assert result.folder.name == default_name(result.settings)


def test_digests_cover_every_field_and_stay() -> None:
    space = load_space("res")
    assert value_digest(space) == "a6fd40553e38"
    changed = dataclasses.replace(space, rules=dataclasses.replace(space.rules, out_growth_max=1.5))
    assert value_digest(changed) != value_digest(space)


def test_a_profile_without_a_reference_keeps_its_digest() -> None:
    """The field is younger than the runs that name the profile."""
    profile = load_device("t4")
    assert "reference_ms" not in _canonical(profile)
    assert value_digest(dataclasses.replace(profile, reference_ms=1.5)) != value_digest(profile)


def test_folder_names_are_stable() -> None:
    settings: dict[str, Any] = {
        "budget": ["t4:3ms", "12Mparams"], "device": ["t4", "my/pi.yaml"], "space": "a/b.yaml", "space_digest": "0",
        "device_digest": ["1", "2"], "strategy": "random", "score": "maxent", "weights": [1.0], "scope": "detector",
        "input_px": 640, "grid": 8, "seed": 0, "steps": 10, "population": 4,
    }  # fmt: skip
    assert default_name(settings) == "a_b-t4+pi-t4_3ms-12Mparams-random-db9ed3"


def test_a_resumed_run_checks_the_options(tmp_path: Path) -> None:
    def run(**options: Any) -> Any:
        return nas.search(
            "5GFLOPs", space="mob", strategy="evolution", steps=500, options=options, name="r", runs=tmp_path,
            pictures=False,
        )  # fmt: skip

    first = run(children=64)
    assert first.settings["options"] == {"children": 64}
    assert "finished already" in run(children=64).notes[0]
    with pytest.raises(BadInput, match="options"):
        run(children=32)
    assert dataclasses.replace(first.problem, seed=1) != first.problem
