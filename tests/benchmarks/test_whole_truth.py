"""``benchmarks/whole_truth.py``: candidates of a tiny space, and made-up trainings whose differences are known."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from distill.study.subruns import SubRunResult
from nas.costs import architecture_costs
from nas.devices.profile import load_device
from nas.evidence.own.design_file import load_design
from nas.evidence.own.export import SeedRun, write_evidence
from nas.evidence.own.request import DEVICE
from nas.evidence.own.sampling import SampledArchitecture
from search_spaces.architecture import Architecture
from search_spaces.space_file import load_space
from tests.benchmarks.scripts import load_script
from workbench.errors import BadInput

pytest.importorskip("scipy")

SPACE = """
name: tiny
style: res
channels: 4
input: [64, 96]
stem: {out: [4, 8]}
stages:
  - {kind: k1kx, stride: 2, out: [8, 12], btn: [4, 8], depth: 1..2}
  - {kind: k1kx, stride: 2, out: [12, 16], btn: [8, 12], depth: 1..2}
  - {kind: k1kx, stride: 2, out: [24, 36], btn: [12, 16, 20], depth: 1..2}
  - {kind: k1kx, stride: 1, out: [24, 36], btn: [20, 28], depth: 1..2}
  - {kind: k1kx, stride: 2, out: [48, 72], btn: [24, 36], depth: 1}
neck: {out: [[8, 12, 16], [16, 24], [32, 48]], depth: [0.34, 1.0], hidden_ratio: 1.0}
head: {classes: 10}
"""
MEANS = {"whole": 0.50, "fixed": 0.45, "published": 0.40}
RANDOM = (0.30, 0.35, 0.48)


@pytest.fixture(scope="module")
def script(repo_root: Path) -> ModuleType:
    return load_script(repo_root, "whole_truth")


def run(script: ModuleType, words: Sequence[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["whole_truth.py", *words])
        script.main()


@pytest.fixture(scope="module")
def made(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with candidates of the tiny space at two budgets."""
    home = tmp_path_factory.mktemp("made")
    (home / "tiny.yaml").write_text(SPACE)
    words = ["candidates", "--space", str(home / "tiny.yaml"), "--out", str(home), "--runs", str(home / "runs")]
    run(script, [*words, "--input", "64", "--scales", "0.125", "0.1875", "--random", "3"])
    return home


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "candidates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_candidates_keep_their_budget_and_the_larger_space_has_the_higher_score(made: Path) -> None:
    rows, design, device = rows_of(made), load_design(str(made / "design.yaml")), load_device(DEVICE)
    assert [arch.name for arch in design.architectures] == [row["name"] for row in rows]
    arms = ("whole", "fixed", "published", "random", "random", "random")
    assert [row["arm"] for row in rows] == [arm for arm in arms for _ in range(2)]
    whole = load_space(str(made / "tiny.yaml"))
    scores: dict[str, dict[str, float]] = {}
    for arch, row in zip(design.architectures, rows, strict=True):
        assert arch.input_px is not None and arch.digest() == row["digest"] and not whole.why_not(arch)
        budget_ms = float(row["budget_ms"])
        ms = architecture_costs(arch, arch.input_px, device).costs["latency_ms"]
        assert (0.97 * budget_ms if row["arm"] == "random" else 0) <= ms <= budget_ms
        assert (row["proved"] == "True") == (row["arm"] in ("whole", "fixed"))
        fixed = load_space(str(made / f"fixed-{budget_ms}ms.yaml"))
        assert (not fixed.why_not(arch)) or row["arm"] in ("whole", "random")
        scores.setdefault(row["budget_ms"], {}).setdefault(row["arm"], float(row["score"]))
    for of_arm in scores.values():
        assert of_arm["whole"] >= of_arm["fixed"] >= of_arm["published"] and of_arm["whole"] >= of_arm["random"]
    assert len(scores) == 2


def test_a_published_shape_outside_the_space_is_refused(script: ModuleType, made: Path) -> None:
    words = ["--space", str(made / "tiny.yaml"), "--out", str(made / "other"), "--input", "64", "--scales", "0.5"]
    with pytest.raises(BadInput, match=r"damo-yolo-t with .* does not lie in the space 'tiny': .*; widen its ranges"):
        run(script, ["candidates", *words])


def test_known_differences_stand_on_the_page(
    script: ModuleType, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every arm has one AP at both budgets but for a seed's shift, which differences leave out."""
    device, sampled, runs = load_device(DEVICE), [], {}
    architectures: dict[str, Architecture] = {
        arch.name: arch for arch in load_design(str(made / "design.yaml")).architectures
    }
    drawn = {budget: iter(RANDOM) for budget in {row["budget_ms"] for row in rows_of(made)}}
    for row in rows_of(made):
        arch = architectures[row["name"]]
        costs = architecture_costs(arch, arch.input_px or 0, device).costs
        sampled.append(SampledArchitecture(row["name"], "res", arch, costs))
        mean = next(drawn[row["budget_ms"]]) if row["arm"] == "random" else MEANS[row["arm"]]
        for seed in (0, 1):
            runs[row["name"], seed] = SeedRun(seed, SubRunResult("", {1: mean + 0.1 * seed}, 1, 60.0))
    write_evidence(made, sampled, runs, DEVICE, 64)
    page = made / "page.md"
    page.write_text("# Page\n\n<!-- measured: begin -->\n<!-- measured: end -->\nwords\n")
    capsys.readouterr()
    run(script, ["judge", "--data", str(made), "--page", str(page)])
    text = page.read_text()
    assert capsys.readouterr().out.strip() in text and text.endswith("words\n")
    assert "24 trainings of 12 of 12 candidates, seeds 0, 1." in text
    exact = "+0.0 to +0.0"
    for arm, ahead in (("fixed", 5), ("published", 10), ("random (median)", 15)):
        cells = [f"whole - {arm}", *3 * [f"{ahead:+.1f}"], *2 * [exact.replace("0.0", f"{ahead}.0")]]
        assert f"| {' | '.join(cells)} |" in text
    assert text.count("| whole | ") == 2 and text.count("| random | ") == 6 and "50.0, 60.0 | 55.0 |" in text


def test_what_is_not_trained_yet_is_left_out(
    script: ModuleType, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "candidates.csv").write_text((made / "candidates.csv").read_text())
    device, wanted = load_device(DEVICE), ("whole", "published")
    sampled, runs = [], {}
    for arch, row in zip(load_design(str(made / "design.yaml")).architectures, rows_of(made), strict=True):
        if row["arm"] in wanted:
            costs = architecture_costs(arch, arch.input_px or 0, device).costs
            sampled.append(SampledArchitecture(arch.name, "res", arch, costs))
            runs[arch.name, 0] = SeedRun(0, SubRunResult("", {1: MEANS[row["arm"]]}, 1, 60.0))
    write_evidence(tmp_path, sampled, runs, DEVICE, 64)
    capsys.readouterr()
    run(script, ["judge", "--data", str(tmp_path)])
    text = capsys.readouterr().out
    assert "4 trainings of 4 of 12 candidates, seeds 0." in text
    assert "| whole - published | +10.0 | +10.0 | +10.0 | +10.0 to +10.0 | - |" in text
    assert "| whole - fixed | - | - | - | - | - |" in text
