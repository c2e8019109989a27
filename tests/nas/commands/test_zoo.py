"""``nas zoo`` and ``nas predict`` as a person meets them: weights in, objects out, errors in one line and nothing
written."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image
from torch import Tensor

from nas.cli import main
from search_spaces.published import PUBLISHED
from tests.zoo.weights import official_files
from zoo.detector import Detector, Info, Recipe
from zoo.factory import build, build_recipe
from zoo.families import find_family
from zoo.images import prepare
from zoo.weights.checkpoint import load, save

NAMES = ("nut", "bolt", "écrou")
SIZES = ((200, 100), (90, 160), (64, 64))
"""Widths and heights of images in pixels."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and lose much where other work runs beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def official(detector: Detector) -> dict[str, Tensor]:
    """Weights by their official names."""
    one = find_family(detector.family)
    return {one.official_name(name): value for name, value in detector.state_dict().items()}


def blocks(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image of coloured blocks."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.NEAREST)


def picture(path: str, width: int, height: int, seed: int = 0) -> None:
    """The same in a file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    blocks(width, height, seed).save(path)


@pytest.fixture(scope="module")
def finder() -> Detector:
    """A detector that was never taught, yet finds something: batch norms set on such images, so that scores differ from
    place to place."""
    torch.manual_seed(0)
    detector = build("yolo11n", 3)
    images = [np.asarray(blocks(width, height, seed)) for width, height in SIZES for seed in range(4)]
    for part in detector.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        detector.train()(prepare(images, 128, detector.preprocess)[0])
    for level in detector.head.classes:  # type: ignore[union-attr]
        torch.nn.init.normal_(level[-1].weight, std=0.3)
        torch.nn.init.constant_(level[-1].bias, -2.0)
    for level in detector.head.boxes:  # type: ignore[union-attr]
        torch.nn.init.normal_(level[-1].weight, std=0.3)
    detector.info = Info(
        NAMES,
        128,
        {"file": "x.pt", "licence": "AGPL-3.0"},
        ({"model": "yolo11n", "licence": "AGPL-3.0", "sha256": "ab" * 32},),
    )
    return detector.eval()


@pytest.fixture
def checkpoint(here: Path, finder: Detector) -> str:
    """That detector's checkpoint."""
    save(finder, "best.safetensors")
    return "best.safetensors"


def done(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What the command prints; it must end well."""
    code = main(list(args))
    out, err = capsys.readouterr()
    assert code == 0, err
    return str(out)


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line on stderr of a command that exits with 2, prints nothing else and leaves the folder as it was."""
    before = {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}
    code = main(list(args))
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), (code, out, err)
    assert err.startswith("nas: ") and "Traceback" not in err
    assert {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")} == before
    return str(err)


# ---- nas zoo import


def test_import_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    detector = build("yolo11n", 3)
    official_files.save_pickled_model(Path("mine.pt"), official(detector), names=NAMES)
    out = done(capsys, "zoo", "import", "mine.pt")
    for words in (
        "yolo11n, 3 classes, 2.59 M parameters",
        "classes: nut, bolt, écrou\n",
        "AGPL-3.0",
        "wrote mine.safetensors",
    ):
        assert words in out
    assert load("mine.safetensors").info.class_names == NAMES
    out = done(capsys, "zoo", "show", "mine.safetensors")
    for words in (
        "yolo11n, 3 classes, input 640 px, training form",
        "nut, bolt",
        "licence: AGPL-3.0",
        "file: mine.pt",
        "lineage: yolo11n under AGPL-3.0",
    ):
        assert words in out
    shown = json.loads(done(capsys, "zoo", "show", "mine.safetensors", "--json"))
    assert (shown["model"], shown["classes"], shown["info"]["class_names"]) == ("yolo11n", 3, list(NAMES))


def test_import_with_names_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    official_files.save_plain(Path("mine.pth"), official(build("yolox-nano", 3)))
    Path("names.txt").write_text("nut\n bolt \n\nécrou\n", encoding="utf-8")
    told = json.loads(
        done(capsys, "zoo", "import", "mine.pth", "--names", "names.txt", "--out", "deep/er/x.safetensors", "--json")
    )
    assert told["checkpoint"] == "deep/er/x.safetensors"
    assert (told["model"], told["classes"], told["class_names"], told["input_px"]) == (
        "yolox-nano",
        3,
        list(NAMES),
        416,
    )
    assert (
        told["provenance"]["licence"] == "Apache-2.0" and told["lineage"][0]["sha256"] == told["provenance"]["sha256"]
    )
    Path("names.txt").write_text("nut\nbolt\n", encoding="utf-8")
    assert "3 classes, and 2 names" in refused(capsys, "zoo", "import", "mine.pth", "--names", "names.txt")
    assert "cannot read --names 'none.txt'" in refused(capsys, "zoo", "import", "mine.pth", "--names", "none.txt")
    Path("names.txt").write_bytes(b"nut\nbolt\n\x1b[2J\n")
    assert "class_names[2]" in refused(capsys, "zoo", "import", "mine.pth", "--names", "names.txt")


def test_import_of_a_searched_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    arch = PUBLISHED["damo-yolo-ns"]
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/best.yaml").write_text(arch.to_yaml(), encoding="utf-8")
    Path("bare.yaml").write_text(arch.backbone().to_yaml(), encoding="utf-8")
    official_files.save_plain(Path("mine.pth"), official(build_recipe(Recipe("x", 3, arch))))
    assert "3 classes" in done(capsys, "zoo", "import", "mine.pth", "--architecture", "runs/a")
    found = load("mine.safetensors").recipe
    assert (
        found.architecture is not None and found.architecture.head is not None and found.architecture.head.classes == 3
    )
    assert "needs neck and head" in refused(capsys, "zoo", "import", "mine.pth", "--architecture", "bare.yaml")
    assert "no such file" in refused(capsys, "zoo", "import", "mine.pth", "--architecture", "none.yaml")
    assert "not 'yolox'" in refused(
        capsys, "zoo", "import", "mine.pth", "--architecture", "runs/a", "--family", "yolox"
    )


class Bomb:
    """Unpickled as usual, it would write a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (Path("boom"), "boom")


def test_import_of_what_is_no_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    tensors = official(build("yolo11n", 3))
    torch.save({"model": tensors, "note": Bomb()}, "bomb.pt")
    assert "nothing was run" in refused(capsys, "zoo", "import", "bomb.pt")
    official_files.save_plain(Path("good.pt"), tensors)
    data = Path("good.pt").read_bytes()
    for cut in (0, 3, 500, len(data) // 2, len(data) - 1):
        Path("cut.pt").write_bytes(data[:cut])
        assert "cut.pt" in refused(capsys, "zoo", "import", "cut.pt")
    with zipfile.ZipFile("good.pt") as whole, zipfile.ZipFile("path.pt", "w") as other:
        for entry in whole.namelist():
            other.writestr(entry, whole.read(entry))
        other.writestr("../../escaped.txt", "x")
    assert "points outside the archive" in refused(capsys, "zoo", "import", "path.pt")
    Path("folder.pt").mkdir()
    assert "not a regular file" in refused(capsys, "zoo", "import", "folder.pt")
    assert "no such file" in refused(capsys, "zoo", "import", "none.pt")
    assert "no YOLOX but YOLO11" in refused(capsys, "zoo", "import", "good.pt", "--family", "yolox")
    assert "did you mean yolo11" in refused(capsys, "zoo", "import", "good.pt", "--family", "yolo1")
    assert "must end in .safetensors" in refused(capsys, "zoo", "import", "good.pt", "--out", "good.pt")
    assert "cannot write" in refused(capsys, "zoo", "import", "good.pt", "--out", "/proc/nope/a.safetensors")
    bad = {**tensors, "model.0.conv.weight": torch.full((16, 3, 3, 3), float("nan"))}
    official_files.save_plain(Path("nan.pt"), bad)
    assert "'model.0.conv.weight' holds NaN" in refused(capsys, "zoo", "import", "nan.pt")


def test_import_never_overwrites_its_source(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    official_files.save_safetensors(Path("hub.safetensors"), official(build("yolo11n", 3)))
    assert "give another --out" in refused(capsys, "zoo", "import", "hub.safetensors")
    Path("link.safetensors").symlink_to("hub.safetensors")
    assert "give another --out" in refused(capsys, "zoo", "import", "hub.safetensors", "--out", "link.safetensors")
    assert "wrote a.safetensors" in done(capsys, "zoo", "import", "hub.safetensors", "--out", "a.safetensors")
    assert "already" in refused(capsys, "zoo", "import", checkpoint, "--out", "b.safetensors")
    assert "bring official weights in" in refused(capsys, "zoo", "show", "hub.safetensors")


def test_missing_packages_are_named(checkpoint: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    picture("a.png", 64, 64)
    for package, command in (
        ("torch", ["zoo", "import", "x.pt"]),
        ("safetensors", ["zoo", "show", checkpoint]),
        ("torch", ["predict", checkpoint, "a.png"]),
        ("PIL", ["predict", checkpoint, "a.png"]),
    ):
        code = f"import sys; sys.modules[{package!r}] = None; from nas.cli import main; sys.exit(main({command!r}))"
        ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
        assert f"needs the package {package!r}" in ended.stderr


# ---- nas zoo list, show


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    out = done(capsys, "zoo")
    for model in ("damo-yolo-s", "yolox-nano", "yolov7", "yolo11n", "yolo26n", "rtdetrv2-s"):
        assert model in out
        assert model in done(capsys, "zoo", "show", model)
    assert {card["model"] for card in json.loads(done(capsys, "zoo", "list", "--json"))} >= {"yolox-nano", "yolo26n"}
    assert json.loads(done(capsys, "zoo", "show", "yolo26n", "--json"))["family"] == "yolo26"


def test_show_of_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" in refused(capsys, "zoo", "show", "yolo26z")


# ---- nas predict


def predicted(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    return dict(json.loads(done(capsys, "predict", *args, "--json")))


def test_predict(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    picture("one/a.jpg", 200, 100)
    picture("one/b.png", 90, 160, seed=1)
    picture("two/a.png", 64, 64, seed=2)
    Path("one/notes.txt").write_text("no image")
    picture("one/deeper/c.png", 64, 64)
    out = done(capsys, "predict", checkpoint, "one", "two/a.png", "--score", "0.02", "--batch", "2")
    report = json.loads(Path("predictions/predictions.json").read_text(encoding="utf-8"))
    assert (report["model"], report["input_px"], report["score"]) == (checkpoint, 128, 0.02)
    found = {one["image"]: one for one in report["images"]}
    assert {name: (one["width"], one["height"], one["picture"]) for name, one in found.items()} == {
        "one/a.jpg": (200, 100, "a.png"), "one/b.png": (90, 160, "b.png"), "two/a.png": (64, 64, "a-2.png"),
    }  # fmt: skip
    for one in found.values():
        assert f"{one['image']}: " in out
        assert one["objects"]
        scores = [thing["score"] for thing in one["objects"]]
        assert scores == sorted(scores, reverse=True) and scores[-1] >= 0.02
        for thing in one["objects"]:
            assert thing["label"] == NAMES[thing["class"]]
            x1, y1, x2, y2 = thing["box"]
            assert 0 <= x1 <= x2 <= one["width"] and 0 <= y1 <= y2 <= one["height"]
        with Image.open(f"predictions/{one['picture']}") as drawn, Image.open(one["image"]) as plain:
            assert drawn.size == plain.size
            assert not np.array_equal(np.asarray(drawn.convert("RGB")), np.asarray(plain.convert("RGB")))
    assert "3 pictures" in out
    assert {path.name for path in Path("predictions").iterdir()} == {"a.png", "b.png", "a-2.png", "predictions.json"}


def test_a_box_has_one_label_unless_asked(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    picture("a.png", 200, 100)

    def count(*args: str) -> int:
        return len(predicted(capsys, checkpoint, "a.png", "--score", "0.02", *args)["images"][0]["objects"])

    assert count("--multi-label") > 1.5 * count()
    assert "branch" in refused(capsys, "predict", checkpoint, "a.png", "--branch", "one_to_one")


def test_batches_change_nothing(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    for i, (width, height) in enumerate(SIZES):
        picture(f"in/{i}.png", width, height, seed=i)
    reports = [
        predicted(capsys, checkpoint, "in", "--score", "0.3", "--batch", batch, "--no-pictures") for batch in ("1", "3")
    ]
    first, second = ([[thing["box"] for thing in one["objects"]] for one in report["images"]] for report in reports)
    assert [len(boxes) for boxes in first] == [len(boxes) for boxes in second] and all(first)
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.11)
    assert [path.name for path in Path("predictions").iterdir()] == ["predictions.json"]
    assert json.loads(Path("predictions/predictions.json").read_text(encoding="utf-8")) == reports[1]
    assert {one["picture"] for one in reports[0]["images"]} == {None}


def test_score_and_input(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    picture("a.png", 200, 100)
    few, many = (
        predicted(capsys, checkpoint, "a.png", "--score", score)["images"][0]["objects"] for score in ("0.5", "0.1")
    )
    assert 0 < len(few) < len(many)
    assert all(thing["score"] >= 0.5 for thing in few)
    assert predicted(capsys, checkpoint, "a.png", "--input", "96", "--out", "small")["input_px"] == 96
    assert Path("small/a.png").is_file()
    assert "a.png: nothing" in done(capsys, "predict", checkpoint, "a.png", "--score", "0.9999999")


def test_predict_refuses(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    picture("in/a.png", 64, 64)
    picture("in/c.png", 64, 64)
    args = ["predict", checkpoint, "in"]
    assert "--score" in refused(capsys, *args, "--score", "1")
    assert "--score" in refused(capsys, *args, "--score", "nan")
    assert "--batch" in refused(capsys, *args, "--batch", "0")
    for side in ("0", "100", "-64", "1000000000"):
        assert "multiple of 32 from 64 to 8192" in refused(capsys, *args, f"--input={side}")
    assert "no such file" in refused(capsys, "predict", "none.safetensors", "in")
    assert "no such file" in refused(capsys, "predict", checkpoint, "in", "none.png")
    assert "nas zoo import x.pt" in refused(capsys, "predict", "x.pt", "in")
    assert "has no weights" in refused(capsys, "predict", "damo-yolo-ns", "in")
    assert "would overwrite an image" in refused(capsys, *args, "--out", "in")
    assert "cannot write" in refused(capsys, *args, "--out", "/proc/nope", "--quiet")
    Path("in/b.png").write_bytes(Path("in/a.png").read_bytes()[:50])
    assert "in/b.png" in refused(capsys, *args, "--batch", "1")


def test_given_twice_is_predicted_once(capsys: pytest.CaptureFixture[str], checkpoint: str) -> None:
    picture("in/a.png", 64, 64)
    assert len(predicted(capsys, checkpoint, "in/a.png", "in", "in/a.png")["images"]) == 1


def test_names_that_no_terminal_should_see(
    capsys: pytest.CaptureFixture[str], checkpoint: str, finder: Detector
) -> None:
    odd = os.fsdecode(b"in/caf\xe9\x1b[2J.png")
    picture("a.png", 64, 64)
    Path("in").mkdir()
    Path("a.png").rename(odd)
    out = done(capsys, "predict", checkpoint, "in")
    assert r"in/caf\udce9\x1b[2J.png: " in out and "\x1b" not in out
    assert json.loads(Path("predictions/predictions.json").read_text(encoding="utf-8"))["images"][0]["image"] == odd
    assert Path(os.fsdecode(b"predictions/caf\xe9\x1b[2J.png")).is_file()
    other = copy.copy(finder)
    other.info = dataclasses.replace(
        finder.info, provenance={"note\n": "\x1b[2Jx\nnas: fine"}, lineage=({"model": "\x1b[2J"},)
    )
    save(other, "odd.safetensors")
    out = done(capsys, "zoo", "show", "odd.safetensors")
    assert "\x1b" not in out and r"note\n: \x1b[2Jx\nnas: fine" in out
