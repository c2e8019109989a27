"""``nas train --inherit`` as a user runs it: what it says and records, kill and resume, what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")
from safetensors.torch import load_file

from distill.data.formats.readers import open_data
from nas.cli import main
from tests.distill.tiny import furnish, tiny_detector
from tests.nas.commands.test_distill import kill_and_go_on, same_weights
from tests.nas.process import nas
from tests.zoo.families.checks import disturb
from zoo.factory import build
from zoo.weights.checkpoint import read_manifest, save
from zoo.weights.licence import FLAGGED, of_weights

ARGS = ["train", "wide.yaml", "--data", "data", "--input", "64", "--epochs", "2", "--batch", "4", "--data-workers", "1",
        "--seed", "3"]  # fmt: skip
INHERIT = ["--inherit", "source.safetensors"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic set ``data``, a source under the AGPL, a wider and deeper ``wide.yaml``, and the finished run
    ``whole``, with what it printed in ``whole.out`` and ``whole.err``."""
    folder = tmp_path_factory.mktemp("inherit")
    furnish(folder, 12)
    names = open_data(str(folder / "data"), "train").classes.names
    source = tiny_detector()
    disturb(source)
    official = {"model": "yolo11n", "licence": "AGPL-3.0", "sha256": "ab" * 32}
    source.info = dataclasses.replace(
        source.info, class_names=("a stranger", *names[1:3]), provenance={"licence": "AGPL-3.0"}, lineage=(official,)
    )
    save(source, folder / "source.safetensors")
    arch = source.recipe.architecture
    assert arch is not None
    stages = tuple(dataclasses.replace(stage, btn=24, depth=2) for stage in arch.stages)
    (folder / "wide.yaml").write_text(dataclasses.replace(arch, stages=stages).to_yaml())
    save(build("yolox-nano", 3), folder / "other.safetensors")
    process = nas(*ARGS, *INHERIT, "--name", "whole", cwd=folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    (folder / "whole.out").write_text(out)
    (folder / "whole.err").write_text(err)
    return folder


def test_it_says_what_was_inherited_and_records_it(home: Path) -> None:
    err = (home / "whole.err").read_text()
    assert "inherited from tiny: " in err and "99.6 % of the source's are used" in err
    assert "10 of 12 classes are new" in err and "blocks that start as the identity: backbone.layers.1.1" in err
    assert "the checkpoints inherit its licence, AGPL-3.0; commercial use: flagged" in err
    settings = yaml.safe_load((home / "runs" / "whole" / "settings.yaml").read_text())
    info = read_manifest(home / "runs" / "whole" / "best.safetensors").info
    inherited = info.provenance["inherited"]
    assert settings["inherit"] == "source.safetensors" and settings["inherited_share"] == inherited["share"] > 0.5
    assert settings["inherit_sha256"] == inherited["sha256"] and inherited["output_change"] > 0
    assert info.provenance["started_from"] == "inherited weights"
    assert [one["licence"] for one in info.lineage] == ["AGPL-3.0", "AGPL-3.0"]
    assert of_weights(info.provenance, info.lineage).answer == FLAGGED


def test_killed_it_goes_on_to_the_same_bits(home: Path) -> None:
    kill_and_go_on([*ARGS, *INHERIT, "--name", "killed"], home, 0.3)
    assert same_weights(home, "killed", "whole")


@pytest.mark.slow
def test_the_weights_matter_and_so_does_the_seed(home: Path) -> None:
    other = nas(*ARGS[:-1], "4", *INHERIT, "--name", "seed", "--set", "lr=1e-12", cwd=home)
    first = nas(*ARGS, *INHERIT, "--name", "still", "--set", "lr=1e-12", cwd=home)
    for process in (other, first):
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    source = load_file(home / "source.safetensors")
    a, b = (load_file(home / "runs" / name / "last.safetensors") for name in ("seed", "still"))
    stem = "backbone.layers.0.conv.conv.weight"
    assert torch.allclose(a[stem], source[stem], atol=1e-6) and torch.allclose(b[stem], source[stem], atol=1e-6)
    new = "backbone.layers.1.1.first.conv.weight"
    assert not torch.allclose(a[new], b[new], atol=1e-3)


def test_a_changed_file_is_refused_like_a_changed_setting(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    other = tiny_detector(seed=7)
    save(other, tmp_path / "home" / "source.safetensors")
    for more in (INHERIT, []):
        process = nas(*ARGS, *more, "--name", "whole", "--quiet", cwd=tmp_path / "home")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 2 and "was made with inherit" in err and len(err.strip().splitlines()) == 1, err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--inherit", "other.safetensors"], "yolox-nano is of the family yolox"),
        (["--inherit", "missing.safetensors"], "no such file"),
        (["--inherit", "yolox.pth"], "nas zoo import"),
        ([*INHERIT, "--weights", "source.safetensors"], "give one of the two"),
    ],
)
def test_what_cannot_be_inherited_is_refused_in_one_line(
    more: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert main([*ARGS, *more, "--name", "refused", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert words in err and "--inherit" in err and len(err.strip().splitlines()) == 1
    assert not (home / "runs" / "refused").exists()


@pytest.mark.slow
def test_a_student_may_inherit_too(home: Path) -> None:
    process = nas("distill", *ARGS[1:], *INHERIT, "--teacher", "source.safetensors", "--name", "taught", cwd=home)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "inherited from tiny" in err, err
    roles = [one.get("role") for one in read_manifest(home / "runs" / "taught" / "best.safetensors").info.lineage]
    assert "teacher" in roles and "inherited" in roles
