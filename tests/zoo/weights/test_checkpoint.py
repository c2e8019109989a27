"""Our checkpoints: bit for bit the same detector back, crashes that leave the old file, hostile files in one line."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")


from search_spaces.space_file import load_space
from tests.zoo.families.checks import assert_same_detector, disturb, outputs
from tests.zoo.weights.official_files import save_safetensors
from workbench.errors import BadInput
from zoo.detector import Detector, Info, Recipe
from zoo.factory import build_recipe
from zoo.weights.checkpoint import KEY, load, read_manifest, save
from zoo.weights.manifest import FORMAT

LINEAGE = (
    {"model": "teacher", "licence": "Apache-2.0", "sha256": "ab" * 32},
    {"model": "grandparent", "licence": "GPL-3.0", "sha256": "cd" * 32},
)
PROVENANCE = {"file": "best.pth", "licence": "Apache-2.0", "facts": {"epoch": 300, "loss": 0.25}}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and lose much where other work runs beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def detector_of(model: str, one_to_one: bool = False) -> Detector:
    """A detector with three classes of its own: of the zoo, or drawn from the search space of that name."""
    torch.manual_seed(0)
    if model.startswith("space:"):
        space = load_space(model.removeprefix("space:"))
        drawn = [space.decode(row, "mine") for row in space.sample(100, np.random.default_rng(3))]
        arch = min(drawn, key=lambda one: sum(stage.depth * (200 + stage.out) for stage in one.stages))
        assert arch.head is not None
        recipe = Recipe(
            "mine", 3, dataclasses.replace(arch, head=dataclasses.replace(arch.head, one_to_one=one_to_one))
        )
    else:
        recipe = Recipe(model, 3)
    detector = build_recipe(recipe).eval()
    disturb(detector)
    detector.info = Info(("nut", "bolt", "écrou 2"), 96, PROVENANCE, LINEAGE, (7, 90, 13))
    return detector


ONE_BRANCH = ("space:res-t", "space:mob")
TWO_BRANCHES = ("space:csp",)
"""The models of the zoo make the round trip in their families' contract."""


@pytest.mark.parametrize("fused", [False, True], ids=["training form", "folded"])
@pytest.mark.parametrize("model", ONE_BRANCH)
def test_round_trip(model: str, fused: bool, tmp_path: Path) -> None:
    detector = detector_of(model)
    if fused:
        detector.fuse()
    save(detector, tmp_path / "a.safetensors")
    back = load(tmp_path / "a.safetensors")
    assert_same_detector(back, detector)
    # what no file holds would have no values
    assert not any(value.is_meta for value in (*back.parameters(), *back.buffers()))


@pytest.mark.parametrize("model", TWO_BRANCHES)
def test_round_trip_of_an_nms_free_head(model: str, tmp_path: Path) -> None:
    whole = detector_of(model, one_to_one=True)
    assert set(whole.selections) == {"one_to_one", "one_to_many"}
    scores = []
    for branch in whole.selections:
        for fused in (False, True):
            detector = copy.deepcopy(whole)
            detector.choose_branch(branch)
            if fused:
                detector.fuse()
            save(detector, tmp_path / "a.safetensors")
            back = load(tmp_path / "a.safetensors")
            assert_same_detector(back, detector)
            assert back.end2end == (branch == "one_to_one")
            scores.append(outputs(back)[1])
    assert not torch.allclose(scores[0], scores[2])  # the two branches are not one


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    save(detector_of("rtdetrv2-s"), tmp_path / "a.safetensors")
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    load(tmp_path / "a.safetensors")
    assert torch.equal(torch.rand(3), wanted)


def test_a_loaded_detector_can_be_trained_folded_and_saved_again(tmp_path: Path) -> None:
    save(detector_of("yolox-nano"), tmp_path / "a.safetensors")
    back = load(tmp_path / "a.safetensors")
    raw = back.train()(torch.rand(1, 3, 64, 64))
    sum(level.square().sum() for level in raw["boxes"]).backward()
    assert back.backbone.stem.conv.conv.weight.grad is not None  # type: ignore[union-attr]
    save(back.eval().fuse(), tmp_path / "b.safetensors")
    assert_same_detector(load(tmp_path / "b.safetensors"), back)


def test_manifest_without_weights(tmp_path: Path) -> None:
    detector = detector_of("yolo26n").fuse()
    save(detector, tmp_path / "a.safetensors")
    manifest = read_manifest(tmp_path / "a.safetensors")
    assert (manifest.recipe, manifest.info, manifest.fused) == (Recipe("yolo26n", 3), detector.info, True)
    assert manifest.to_dict()["info"]["class_names"] == ["nut", "bolt", "écrou 2"]


# ---- writing


STOPPED = """
import resource, signal, sys, torch
from zoo.weights.checkpoint import load, save
from workbench.errors import BadInput
detector = load(sys.argv[1])
for parameter in detector.parameters():
    torch.nn.init.ones_(parameter)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL if sys.argv[2] == "killed" else signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    save(detector, sys.argv[1])
except BadInput as error:
    print(error)
    sys.exit(2)
"""
"""The system lets this process write one megabyte and then kills it, or says that there is no room."""


@pytest.mark.parametrize("how", ["killed", "disk full"])
def test_stopped_in_the_middle_of_save(how: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    detector = detector_of("yolox-nano")
    save(detector, path)
    before = path.read_bytes()
    assert len(before) > 2_000_000
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(path), how], env=env, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )  # fmt: skip
    if how == "killed":
        assert done.returncode == -signal.SIGXFSZ, done.stderr
        assert len(list(tmp_path.iterdir())) > 1  # a temporary file: it had begun, and had not ended
    else:
        assert done.returncode == 2, done.stderr
        assert done.stdout.count("\n") == 1 and "cannot write" in done.stdout
        assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
    assert_same_detector(load(path), detector)


UNWRITABLE: dict[str, tuple[Callable[[Detector], object], str]] = {
    "half precision": (lambda d: d.half(), "F16"),
    "NaN": (lambda d: torch.nn.init.constant_(d.head.stems[0].conv.weight, float("nan")), "NaN"),  # type: ignore[union-attr, index]
    "names": (lambda d: _set(d, class_names=("nut", "bolt")), "3 classes need a list of as many class_names"),
    "name": (lambda d: _set(d, class_names=("nut", "bolt", "\x1b[2J")), r"class_names\[2\] .* printable"),
    "input": (lambda d: _set(d, input_px=100), "multiple of 32"),
    "provenance": (lambda d: _set(d, provenance={"file": Path("x")}), "not JSON serializable"),
    "number": (lambda d: _set(d, provenance={"loss": float("nan")}), "not JSON compliant"),
    "surgery": (lambda d: setattr(d.neck, "lateral5", torch.nn.Identity()), "neck.lateral5.conv.weight"),
}


def _set(detector: Detector, **changes: Any) -> None:
    detector.info = dataclasses.replace(detector.info, **changes)


@pytest.mark.parametrize("case", UNWRITABLE)
def test_nothing_is_written_that_could_not_be_read(case: str, tmp_path: Path) -> None:
    spoil, words = UNWRITABLE[case]
    detector = detector_of("yolox-nano")
    spoil(detector)
    with pytest.raises(BadInput, match=words):
        save(detector, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


# ---- hostile files


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of a searched detector, folded."""
    path = tmp_path_factory.mktemp("good") / "a.safetensors"
    save(detector_of("space:mob").fuse(), path)
    return path.read_bytes()


def header_of(data: bytes) -> dict[str, Any]:
    return dict(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))


def with_header(data: bytes, header: object) -> bytes:
    """The same weights under another header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]


def with_manifest(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The same weights under a manifest that ``change`` has changed."""
    header = header_of(data)
    manifest = json.loads(header["__metadata__"][KEY])
    change(manifest)
    header["__metadata__"][KEY] = json.dumps(manifest)
    return with_header(data, header)


def with_entry(data: bytes, change: Callable[[dict[str, Any], str], object]) -> bytes:
    """The same with a header in which ``change`` has changed what is said of the first tensor."""
    header = header_of(data)
    change(header, next(name for name in header if name != "__metadata__"))
    return with_header(data, header)


FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda d: b"", "claims 0 bytes"),
    "few bytes": (lambda d: b"abc", "claims 0 bytes"),
    "text": (lambda d: b"no checkpoint at all, only some text", "no checkpoint of this workbench"),
    "cut in the header": (lambda d: d[:1000], "cut short"),
    "cut in the weights": (lambda d: d[:-1], "damaged"),
    "longer": (lambda d: d + b"\0", "damaged"),
    "2 GB header": (lambda d: (2 * 10**9).to_bytes(8, "little") + d[8:], "claims 2,000,000,000 bytes"),
    "longest header": (lambda d: b"\xff" * 8 + d[8:], "claims 18,446,744,073,709,551,615 bytes"),
    "no JSON": (lambda d: with_header(d, b"{]" * 20), "its header is not JSON"),
    "no UTF-8": (lambda d: with_header(d, b"\xff\xfe" * 20), "its header is not JSON"),
    "deep JSON": (lambda d: with_header(d, b"[" * 200_000), "its header is not JSON"),
    "list": (lambda d: with_header(d, [1, 2]), "no table of tensors"),
    "no metadata": (
        lambda d: with_header(d, {k: v for k, v in header_of(d).items() if k != "__metadata__"}),
        "nas zoo import",
    ),
    "metadata of another kind": (lambda d: with_header(d, {**header_of(d), "__metadata__": 5}), "nas zoo import"),
    "manifest of another kind": (
        lambda d: with_header(d, {**header_of(d), "__metadata__": {KEY: 5}}),
        "nas zoo import",
    ),
    "manifest not JSON": (
        lambda d: with_header(d, {**header_of(d), "__metadata__": {KEY: "{"}}),
        "says of itself is not JSON",
    ),
    "manifest NaN": (
        lambda d: with_header(d, {**header_of(d), "__metadata__": {KEY: '{"x": NaN}'}}),
        "says of itself is not JSON",
    ),
    "manifest list": (lambda d: with_header(d, {**header_of(d), "__metadata__": {KEY: "[]"}}), FORMAT),
    "tensor missing": (lambda d: with_entry(d, lambda h, n: h.pop(n)), "1 missing"),
    "tensor extra": (
        lambda d: with_entry(d, lambda h, n: h.update({"x\n\x1b[2J": h[n]})),
        r"1 without a place in it \('x\\n\\x1b\[2J'\)",
    ),
    "other shape": (
        lambda d: with_entry(d, lambda h, n: h[n].update(shape=[1, *h[n]["shape"]])),
        "1 of another shape or type",
    ),
    "other type": (lambda d: with_entry(d, lambda h, n: h[n].update(dtype="I32")), "I32 .* for F32"),
    "entry of another kind": (lambda d: with_entry(d, lambda h, n: h.update({n: 7})), "7 for F32"),
    "other place": (lambda d: with_entry(d, lambda h, n: h[n].update(data_offsets=[0, 10**15])), "damaged"),
    "other key": (lambda d: with_entry(d, lambda h, n: h[n].pop("data_offsets")), "damaged"),
    "NaN": (lambda d: d[:-4] + b"\xff" * 4, "holds NaN"),
}

MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "format": (lambda m: m.update(format="nas-checkpoint-2"), "nas-checkpoint-2"),
    "no architecture": (lambda m: m.update(architecture=None), "unknown model of the zoo 'mine'"),
    "another model": (
        lambda m: m.update(architecture=None, model="yolox-nano"),
        "do not fit yolox-nano with 3 classes: .* missing .*; .* without a place",
    ),
    "alias": (lambda m: m.update(architecture=None, model="YOLOXNANO"), "do not fit yolox-nano with 3"),
    "model type": (lambda m: m.update(model=["yolox-nano"]), "model .* printable"),
    "classes": (
        lambda m: (m.update(classes=4), m["info"]["class_names"].append("x"), m["info"]["category_ids"].append(1)),
        "of another shape or type",
    ),
    "names": (lambda m: m.update(classes=4), "as many class_names"),
    "a billion classes": (lambda m: m.update(classes=10**9), "whole number from 1 to"),
    "no class": (lambda m: m.update(classes=0), "whole number from 1 to"),
    "classes true": (lambda m: m.update(classes=True), "whole number from 1 to"),
    "classes infinite": (lambda m: m.update(classes=float("inf")), "not JSON"),
    "classes text": (lambda m: m.update(classes="3"), "whole number from 1 to"),
    "category ids": (lambda m: m["info"].update(category_ids=[1, 2]), r"category_ids \[1, 2\] must be"),
    "category id type": (lambda m: m["info"].update(category_ids=[1, 2, "3"]), "category_ids"),
    "name type": (lambda m: m["info"].update(class_names=["a", "b", 3]), r"class_names\[2\] 3"),
    "name of escapes": (lambda m: m["info"].update(class_names=["a", "b", "\x1b[2J"]), r"class_names\[2\] '\\x1b"),
    "name surrogate": (lambda m: m["info"].update(class_names=["a", "b", "\ud800"]), r"class_names\[2\]"),
    "info": (lambda m: m.update(info=None), "info None"),
    "input": (lambda m: m["info"].update(input_px=10**9), "input_px"),
    "lineage": (lambda m: m["info"].update(lineage="AGPL"), "lineage"),
    "lineage entry": (lambda m: m["info"].update(lineage=["AGPL"]), r"lineage\[0\]"),
    "provenance": (lambda m: m["info"].update(provenance=[]), "provenance"),
    "fused": (lambda m: m.update(fused="no"), "true or false"),
    "other form": (lambda m: m.update(fused=False), "missing"),
    "branch": (lambda m: m.update(branch="one_to_one"), "unknown branch"),
    "nothing": (lambda m: m.clear(), "format"),
    "architecture type": (lambda m: m.update(architecture=[1]), "mapping"),
    "block": (lambda m: m["architecture"]["stages"][0].update(kind="x"), "block kind"),
    "a billion blocks": (lambda m: m["architecture"]["stages"][1].update(depth=10**9), "at most 1000"),
    "widest": (lambda m: m["architecture"]["stages"][1].update(btn=2**31, out=2**31), "cannot be built"),
    "wider than any number": (lambda m: m["architecture"]["neck"].update(out=[10**30] * 3), "at most 2147483648"),
    "deeper than any number": (lambda m: m["architecture"]["neck"].update(depth=10**400), "architecture"),
    "finest": (lambda m: m["architecture"]["head"].update(reg_max=10**9), "of another shape or type"),
    "bare": (lambda m: (m["architecture"].pop("neck"), m["architecture"].pop("head")), "bare backbone"),
}


def refused(path: Path) -> str:
    """The one line with which ``path`` is refused."""
    with pytest.raises(BadInput) as caught:
        load(path)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 2000 and path.name in line
    return line


@pytest.mark.parametrize("case", FILES)
def test_hostile_file(case: str, good: bytes, tmp_path: Path) -> None:
    make, words = FILES[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(make(good))
    assert path.read_bytes() != good
    assert re.search(words, refused(path))


@pytest.mark.parametrize("case", MANIFESTS)
def test_hostile_manifest(case: str, good: bytes, tmp_path: Path) -> None:
    change, words = MANIFESTS[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_manifest(good, change))
    assert re.search(words, refused(path))


def test_the_unchanged_file_is_fine(good: bytes, tmp_path: Path) -> None:
    """So the hostile ones are refused for what was changed, and not for how it was written."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_manifest(good, lambda manifest: None))
    assert_same_detector(load(path), detector_of("space:mob").fuse())


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert "not a regular file" in refused(tmp_path / "folder.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "not a regular file" in refused(tmp_path / "pipe.safetensors")


def test_plain_safetensors(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "a.safetensors", {"x": torch.zeros(3)}, {"format": "pt"})
    assert f"nas zoo import {tmp_path / 'a.safetensors'}" in refused(tmp_path / "a.safetensors")


def test_torn_anywhere(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for cut in np.random.default_rng(0).integers(0, len(good), 12):
        path.write_bytes(good[:cut])
        refused(path)
