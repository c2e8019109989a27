"""``benchmarks/own_truth.py`` on a made-up set of trainings whose effects are known."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

from distill.study.subruns import SubRunResult
from nas.costs import architecture_costs
from nas.devices.profile import load_device
from nas.evidence.own.design import apply_levels, build
from nas.evidence.own.export import SeedRun, write_evidence
from nas.evidence.own.request import DEVICE
from nas.evidence.own.sampling import SampledArchitecture
from tests.benchmarks.scripts import load_script
from tests.nas.evidence.own.test_design_file import plain, read

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")


KIND, WIDTH, FASTER = ("| kind", "res to mob"), ("| width", "even to fine"), ("| band", "3ms to 4ms")


@pytest.fixture(scope="module")
def script(repo_root: Path) -> ModuleType:
    return load_script(repo_root, "own_truth")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 architectures with two seeds: ``mob`` has 5 points more than ``res``, ``fine`` 3 points less than ``even``."""
    home, rng, device = tmp_path_factory.mktemp("made"), np.random.default_rng(0), load_device(DEVICE)
    (home / "own.yaml").write_text(yaml.safe_dump(plain(), sort_keys=False))
    sampled, runs = [], {}
    crossed = itertools.product(("res", "mob"), ("even", "fine"), ("3ms", "4ms"), (1.0, 1.5, 2.0))
    for at, (kind, width, band, scale) in enumerate(crossed):
        arch = build(apply_levels(read(plain()), {"kind": kind, "width": width}), scale, 4, 10, "")
        costs = architecture_costs(arch, 64, device).costs
        levels = {"kind": kind, "width": width, "band": band}
        sampled.append(SampledArchitecture(f"made-{at}", kind, arch, costs, levels))
        ap = 0.3 + 0.05 * (kind == "mob") - 0.03 * (width == "fine")
        for seed in (0, 1):
            result = SubRunResult("", {1: ap + 0.002 * float(rng.standard_normal())}, 1, 60.0)
            runs[f"made-{at}", seed] = SeedRun(seed, result)
    (home / "set").mkdir()
    write_evidence(home / "set", sampled, runs, DEVICE, 64)
    (home / "set" / "settings.yaml").write_text("design: small\n")
    return home


def test_known_effects_and_noise_stand_on_the_page(
    script: ModuleType, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    page = trained / "page.md"
    page.write_text("# Page\n\n<!-- measured: begin -->\n<!-- measured: end -->\nwords\n")
    words = ["--data", "set", "--design", "own.yaml", "--page", "page.md", "--scores", "flops", "activations"]
    monkeypatch.setattr(sys, "argv", ["own_truth.py", *words])
    script.main()
    text = page.read_text()
    assert capsys.readouterr().out.strip() in text and text.endswith("words\n")
    rows = {tuple(row.split(" | ")[:2]): row.split(" | ")[2] for row in text.splitlines() if row.startswith("| ")}
    effects = {key: float(rows[key].strip("*").split()[0]) for key in (KIND, WIDTH, FASTER)}
    assert effects == pytest.approx({KIND: 5, WIDTH: -3, FASTER: 0}, abs=0.25)
    assert rows[KIND].startswith("**") and rows[WIDTH].startswith("**") and not rows[FASTER].startswith("**")
    assert "48 trainings of 24 architectures of 2 spaces in 2 latency bands" in text
    scatter = re.search(r"scatters by (0\.\d\d) AP points between seeds \(24 architectures have two or more\)", text)
    assert scatter is not None and float(scatter[1]) == pytest.approx(0.2, abs=0.07)
    for name in ("page.png", "page-effects.png"):
        assert (trained / name).read_bytes().startswith(b"\x89PNG") and f"]({name})" in text


def test_a_set_without_a_design_has_no_effects(
    script: ModuleType, repo_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repo_root / "docs" / "benchmarks" / "own-truth"
    monkeypatch.setattr(sys, "argv", ["own_truth.py", "--data", str(folder), "--scores", "flops", "activations"])
    script.main()
    out = capsys.readouterr().out
    assert "24 trainings of 18 architectures of 3 spaces in 1 latency bands" in out and "factors" not in out
    assert "| activations | **0.57** " in out  # as nas bench-scores prints it
