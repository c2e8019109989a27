"""Official checkpoints of every family in the layouts that their authors write: what comes in, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor

from search_spaces.space_file import load_space
from tests.zoo.families.checks import disturb
from tests.zoo.weights import official_files
from workbench.errors import BadInput
from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.families import find_family
from zoo.weights.checkpoint import load, save
from zoo.weights.official import identify, import_official

Tensors = dict[str, Tensor]
NAMES = ("nut", "bolt", "écrou")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and lose much where other work runs beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def detector_of(recipe: Recipe) -> Detector:
    """A detector with random weights and used batch norms."""
    torch.manual_seed(0)
    detector = build_recipe(recipe).eval()
    disturb(detector)
    return detector


def official_tensors(detector: Detector) -> Tensors:
    """Its weights by their official names."""
    one = find_family(detector.family)
    return {one.official_name(name): value.clone() for name, value in detector.state_dict().items()}


def yolo11(classes: int = 3) -> Tensors:
    return official_tensors(detector_of(Recipe("yolo11n", classes)))


def refused(path: Path, *args: object) -> str:
    """The one line with which ``path`` is refused."""
    with pytest.raises(BadInput) as caught:
        import_official(path, *args)  # type: ignore[arg-type]
    line = str(caught.value)
    assert "\n" not in line and len(line) < 2000 and path.name in line
    return line


def with_project(tensors: Tensors) -> Tensors:
    """And the constant that the official DAMO-YOLO stores."""
    return {**tensors, "head.integral.project": torch.arange(17.0)}


def test_searched_architecture(tmp_path: Path) -> None:
    space = load_space("mob")
    drawn = [space.decode(row, "mine") for row in space.sample(100, np.random.default_rng(3))]
    arch = min(drawn, key=lambda one: sum(stage.depth * (200 + stage.out) for stage in one.stages))
    assert arch.head is not None and arch.head.classes == 80
    detector = detector_of(Recipe("mine", 3, arch))
    path = tmp_path / "mine.pth"
    official_files.save_plain(path, with_project(official_tensors(detector)))
    found = import_official(path, architecture=arch, names=NAMES)
    assert (found.recipe.model, found.classes, found.info.class_names) == ("mine", 3, NAMES)
    assert found.recipe.architecture is not None and found.recipe.architecture.head == dataclasses.replace(
        arch.head, classes=3
    )
    for name, value in found.state_dict().items():
        assert torch.equal(value, detector.state_dict()[name])
    save(found, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").recipe == found.recipe
    assert "the nearest is damo-yolo-" in refused(path)
    with pytest.raises(BadInput, match="'damo-yolo', not 'yolox'"):
        import_official(path, "yolox", arch)
    assert "not those of architecture" in refused(path, None, next(one for one in drawn if one != arch))
    assert "3 classes, and 2 names" in refused(path, None, arch, NAMES[:2])
    official_files.save_plain(path, official_tensors(detector_of(Recipe("yolox-nano", 3))))
    assert "no DAMO-YOLO but YOLOX" in refused(path, None, arch)


# ---- what does not fit


WEIGHT = "model.0.conv.weight"
WRONG: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "missing": (
        lambda t: t.pop(WEIGHT),
        f"the nearest is yolo11n with 3 classes, against which there are 1 missing ({WEIGHT})",
    ),
    "unexpected": (lambda t: t.update({"model.24.x\n\x1b[2J": torch.zeros(2)}), r"1 unexpected (model.24.x\n\x1b[2J)"),
    "shape": (
        lambda t: t.update({WEIGHT: torch.zeros(16, 3, 5, 5)}),
        f"1 of another shape ({WEIGHT} [16, 3, 5, 5] for [16, 3, 3, 3])",
    ),
    "type": (
        lambda t: t.update({WEIGHT: torch.zeros(16, 3, 3, 3, dtype=torch.int8)}),
        f"1 of another type ({WEIGHT} torch.int8 for torch.float32)",
    ),
    "complex": (lambda t: t.update({WEIGHT: torch.zeros(16, 3, 3, 3, dtype=torch.complex64)}), "1 of another type"),
    "NaN": (lambda t: t[WEIGHT].view(-1)[5:6].fill_(float("nan")), f"tensor '{WEIGHT}' holds NaN"),
    "infinity": (lambda t: t[WEIGHT].view(-1)[5:6].fill_(float("inf")), f"tensor '{WEIGHT}' holds infinity"),
    "too great": (
        lambda t: t.update({WEIGHT: torch.full((16, 3, 3, 3), 1e300, dtype=torch.float64)}),
        "holds infinity",
    ),
    "classes": (
        lambda t: t.pop("model.23.cv3.0.2.bias"),
        "counts its classes is missing or has another shape: 'model.23.cv3.0.2.bias'",
    ),
    "classes shape": (
        lambda t: t.update({"model.23.cv3.0.2.bias": torch.tensor(1.0)}),
        "counts its classes is missing or has another shape",
    ),
    "no classes": (lambda t: t.update({"model.23.cv3.0.2.bias": torch.zeros(0)}), "0 classes"),
    "a billion classes": (lambda t: t.update({"model.23.cv3.0.2.bias": torch.zeros(10**9, 0)}), "1000000000 classes"),
    "many classes": (
        lambda t: t.update({"model.23.cv3.0.2.bias": torch.zeros(10**5, 0)}),
        "yolo11n with 100000 classes",
    ),
    "another network": (
        lambda t: t.update({k.replace("model.", "net."): t.pop(k) for k in list(t)}),
        "no family of the zoo has tensors named net.0.conv.weight",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tensors_are_named(case: str, tmp_path: Path) -> None:
    spoil, words = WRONG[case]
    tensors = yolo11()
    spoil(tensors)
    path = tmp_path / "x.pt"
    official_files.save_plain(path, tensors)
    assert words in refused(path)


def test_constants_with_other_values(tmp_path: Path) -> None:
    tensors = official_tensors(detector_of(Recipe("damo-yolo-ns", 3)))
    official_files.save_plain(tmp_path / "x.pt", {**tensors, "head.integral.project": torch.arange(17.0) * 2})
    assert "1 a constant with another value (head.integral.project)" in refused(tmp_path / "x.pt")


def test_wrong_family(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    official_files.save_plain(path, yolo11())
    assert import_official(path, "yolo11").recipe.model == "yolo11n"
    line = refused(path, "yolox")
    assert "no YOLOX but YOLO11" in line and "the family is then 'yolo11'" in line
    assert "did you mean yolo11" in refused(path, "yolo1")


@pytest.mark.parametrize("model", ["yolo11n", "yolo11s"])
def test_a_width_that_no_model_has(model: str, tmp_path: Path) -> None:
    """Of equally many misfits, the model nearest in its number of weights is named."""
    tensors = official_tensors(build_recipe(Recipe(model, 3)))
    wide = {name: torch.zeros([n + (i < 2) for i, n in enumerate(value.shape)]) for name, value in tensors.items()}
    wide["model.23.cv3.0.2.bias"] = torch.zeros(3)
    official_files.save_plain(tmp_path / "x.pt", wide)
    line = refused(tmp_path / "x.pt")
    assert f"no YOLO11 has these tensors; the nearest is {model} with 3 classes" in line
    assert "of another shape (model.0.conv.weight [" in line and "more)" in line


def test_nearest_counts_misfits_first() -> None:
    tensors = official_tensors(build_recipe(Recipe("yolo11s", 80)))
    del tensors[WEIGHT]
    one, model, classes = identify(tensors)
    assert (one.name, model, classes) == ("yolo11", "yolo11s", 80)


# ---- what a file says besides


def test_our_own_checkpoint_is_recognised(tmp_path: Path) -> None:
    save(detector_of(Recipe("yolox-nano", 3)), tmp_path / "a.safetensors")
    assert "already" in refused(tmp_path / "a.safetensors")


def test_names_and_facts_are_made_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    official_files.save_pickled_model(path, yolo11(), names=["ok", "\x1b[2J\nnas: fine", "x" * 5000])
    found = import_official(path)
    assert found.info.class_names == ("ok", r"\x1b[2J\nnas: fine", "x" * 200)
    facts: dict[str, Any] = {
        "epoch": 3,
        "loss": float("nan"),
        "huge": 10**5000,
        "note\n": "a\n\ud800b",
        "long": "y" * 10**6,
        "done": True,
    }
    official_files.save_plain(path, yolo11(), **facts)
    found = import_official(path)
    assert found.info.provenance["facts"] == {"epoch": 3, r"note\n": r"a\n\ud800b", "long": "y" * 1000, "done": True}
    json.dumps(dict(found.info.provenance), allow_nan=False).encode()
    save(found, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").info == found.info


def test_names_that_are_not_one_a_class(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    official_files.save_pickled_model(path, yolo11(), names=["a", "b"])
    assert import_official(path).info.class_names == ("class 0", "class 1", "class 2")
    assert import_official(path, names=NAMES).info.class_names == NAMES


class Bomb:
    """Unpickled as usual, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.target, "boom")


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    path, target = tmp_path / "x.pt", tmp_path / "boom"
    torch.save({"model": yolo11(), "note": Bomb(target)}, path)
    assert "nothing was run" in refused(path)
    path.write_bytes(pickle.dumps(Bomb(target)))
    assert "nothing was run" in refused(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists()  # as it would have been
