"""The cache of a teacher's answers: exact to the rounding, asked once, whole after every kind of end, never
another's.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
from torch import Tensor

from distill.data.dataset import DataSet
from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.loader import Batch, Loader, ReadOptions
from distill.data.feed.presets import PRESETS, Preset, Sizes
from distill.data.feed.views import Origin, View, Views
from distill.data.formats.readers import open_data
from distill.data.synthetic.synth import make
from distill.teach.balance import Schedule
from distill.teach.cache.cost_estimate import StepTimes, SyntheticBatch, describe_cost, teacher_views
from distill.teach.cache.serialize import RecordLayout, to_half
from distill.teach.cache.setup import CacheOptions, cache_key, check_cache, use_cache
from distill.teach.cache.store import CacheContents, TeacherCache
from distill.teach.outputs import RequiredOutputs, TeacherOutputs
from distill.teach.settings import DistillationSettings
from distill.teach.task import DistillationTask
from distill.teach.teacher import Teacher
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from tests.distill.tiny import CLASSES, PX, tiny_detector
from workbench.errors import BadInput
from zoo.factory import build

PICTURES, BATCH = 10, 4
SIZED = dataclasses.replace(PRESETS["light"], sizes=Sizes(0.5, 1.5))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("views") / "data"
    make(folder, 12, 0, lambda text: None)
    found = open_data(folder, "train")
    assert len(found) == PICTURES
    return found


def task_of(
    teacher: str = "yolo11n",
    px: int = PX,
    features: tuple[str, ...] = ("cwd",),
    responses: tuple[str, ...] | None = None,
) -> DistillationTask:
    torch.manual_seed(7)
    detector = build(teacher, CLASSES).eval()
    student = tiny_detector()
    settings = DistillationSettings(
        {name: {} for name in features},
        None if responses is None else {name: {} for name in responses},
        schedule=Schedule(1, 1, 0),
    )
    return DistillationTask(student, [Teacher(detector, student, px, PX)], settings).train()


def views_of(preset: Preset | str = "light", count: int = 2) -> Views:
    from distill.data.feed.presets import find_preset

    return Views(count, PICTURES, BATCH, 0, find_preset(preset), PX)


class Counted:
    """A teacher that counts the pictures it is asked for."""

    def __init__(self, ask: Callable[[Tensor], TeacherOutputs]) -> None:
        self.ask, self.pictures = ask, 0

    def __call__(self, image: Tensor) -> TeacherOutputs:
        self.pictures += len(image)
        return self.ask(image)


def contents_of(task: DistillationTask, views: Views) -> CacheContents:
    return CacheContents(views, (View(0), View(1)), task.parts[0].required)


def cache_for(
    folder: Path,
    task: DistillationTask,
    key: dict[str, object] | None = None,
    budget: int = 10**9,
    views: Views | None = None,
) -> TeacherCache:
    views = views or views_of()
    return TeacherCache.open(folder, key or {"seed": 0}, contents_of(task, views), task.parts[0].compute, CPU, budget)


def image_of(*seeds: int, side: int = PX) -> Tensor:
    return torch.stack(
        [torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed)) * 255 for seed in seeds]
    )


def same(a: TeacherOutputs, b: TeacherOutputs) -> bool:
    assert (a.predictions is None) == (b.predictions is None) and len(a.features) == len(b.features)
    pairs = list(zip(a.features, b.features, strict=True))
    if a.predictions is not None and b.predictions is not None:
        assert (a.predictions.size, a.predictions.strides, a.predictions.offset) == (
            b.predictions.size,
            b.predictions.strides,
            b.predictions.offset,
        )
        pairs += [(a.predictions.boxes, b.predictions.boxes), (a.predictions.scores, b.predictions.scores)]
        if a.predictions.distributions is not None and b.predictions.distributions is not None:
            pairs.append((a.predictions.distributions, b.predictions.distributions))
    return all(torch.equal(x, y) for x, y in pairs)


# views


def fed(
    data: DataSet,
    preset: Preset | str = "light",
    epoch: int = 0,
    views: int = 2,
    closing: bool = False,
    workers: int = 0,
) -> list[Batch]:
    plan = BatchPlan(BATCH, 3, views)
    with Loader(data, tiny_detector().preprocess, preset, PX, plan, ReadOptions(workers)) as loader:
        return list(loader.epoch(epoch, closing=closing))


def by_picture(batches: list[Batch]) -> dict[int, Tensor]:
    return {index: image for batch in batches for index, image in zip(batch.indices.tolist(), batch.image, strict=True)}


@pytest.mark.parametrize("preset", ["light", "damo", SIZED], ids=["light", "damo", "sizes"])
def test_views_come_round_again_in_other_batches(data: DataSet, preset: Preset | str) -> None:
    first, second, third = (by_picture(fed(data, preset, epoch)) for epoch in (0, 1, 2))
    assert first.keys() == third.keys() == set(range(PICTURES))
    assert all(torch.equal(first[i], third[i]) for i in first)
    assert not any(first[i].shape == second[i].shape and torch.equal(first[i], second[i]) for i in first)
    orders = [[batch.indices.tolist() for batch in fed(data, preset, epoch)] for epoch in (0, 2)]
    assert orders[0] != orders[1]


def test_the_last_epochs_have_views_of_their_own(data: DataSet) -> None:
    open_views, closing = fed(data, epoch=1), fed(data, epoch=1, closing=True)
    assert {batch.view for batch in open_views} == {View(1)} and {batch.view for batch in closing} == {View(1, True)}
    ours, theirs = by_picture(open_views), by_picture(closing)
    assert any(not torch.equal(ours[i], theirs[i]) for i in ours)


def test_an_epoch_goes_on_where_it_stopped_and_workers_change_nothing(data: DataSet) -> None:
    whole = fed(data, SIZED, 3)
    with Loader(
        data, tiny_detector().preprocess, SIZED, PX, BatchPlan(BATCH, 3, views=2), ReadOptions(workers=2)
    ) as loader:
        rest = list(loader.epoch(3, 1))
    assert [batch.origin for batch in whole[1:]] == [batch.origin for batch in rest]
    assert all(torch.equal(a.image, b.image) for a, b in zip(whole[1:], rest, strict=True))


@pytest.mark.parametrize("pictures", [1, 4, 10, 57, 128])
@pytest.mark.parametrize("every", [1, 3])
def test_batches_of_many_sizes_show_every_picture_once(pictures: int, every: int) -> None:
    views = Views(3, pictures, BATCH, 5, dataclasses.replace(SIZED, sizes=Sizes(0.5, 2.0, every)), PX)
    for epoch in range(4):
        indices, sides = views.batches(epoch)
        assert indices.shape == (-(-pictures // BATCH), BATCH) and set(indices.ravel().tolist()) == set(range(pictures))
        assert (views.sides_px(views.of(epoch))[indices] == sides[:, None]).all()


def test_without_views_batches_are_as_they_were(data: DataSet) -> None:
    batches = fed(data, views=0)
    assert all(batch.view is None and batch.origin is None for batch in batches)
    shuffled = np.random.default_rng([3, 0, 0]).permutation(PICTURES)
    assert np.concatenate([batch.indices.numpy() for batch in batches]).tolist() == np.resize(shuffled, 12).tolist()


# records


@pytest.mark.parametrize("teacher", ["yolo11n", "yolox-nano", "rtdetrv2-s", "damo-yolo-ns", "yolo26n"])
def test_a_record_is_what_was_said_up_to_half_precision(teacher: str) -> None:
    task = task_of(teacher)
    said = task.parts[0].compute(image_of(0, 1))
    form = RecordLayout(task.parts[0].required, said)
    back = form.unpack(form.pack(said))
    assert said.predictions is not None and back.predictions is not None
    assert torch.equal(back.predictions.boxes, said.predictions.boxes)
    assert torch.equal(back.predictions.scores, said.predictions.scores.half().float())
    assert all(torch.equal(a, b.half().float()) for a, b in zip(back.features, said.features, strict=True))
    if "localisation" in task.parts[0].responses:
        assert back.predictions.distributions is not None and said.predictions.distributions is not None
        assert torch.equal(back.predictions.distributions, said.predictions.distributions.half().float())
    assert (back.predictions.size, back.predictions.strides, back.predictions.offset) == (
        said.predictions.size,
        said.predictions.strides,
        said.predictions.offset,
    )
    assert same(form.unpack(form.pack(back)), back)
    assert form.bytes % 64 == 0 and form.pack(said).shape == (2, form.bytes)


def test_only_what_is_asked_for_is_kept() -> None:
    whole = task_of()
    said = whole.parts[0].compute(image_of(0))
    sizes = {
        name: RecordLayout(kept, said).bytes
        for name, kept in {
            "all": RequiredOutputs(True, True, True, (0, 1, 2)),
            "plain": RequiredOutputs(True, True, False, (0, 1, 2)),
            "one class": RequiredOutputs(True, True, False, (1,)),
            "features": RequiredOutputs(predictions=False),
            "answer": RequiredOutputs(features=False, distributions=False, columns=(0, 1, 2)),
        }.items()
    }
    assert sizes["all"] > sizes["plain"] > sizes["one class"] > sizes["features"] > sizes["answer"]
    assert task_of(responses=()).parts[0].compute(image_of(0)).predictions is None
    back = RecordLayout(RequiredOutputs(False, True, False, (1,)), said)
    scores = back.unpack(back.pack(said)).predictions
    assert scores is not None and scores.scores[..., [0, 2]].abs().sum() == 0 and scores.scores[..., 1].sum() > 0


def test_numbers_beyond_half_precision_are_refused_not_made_infinite() -> None:
    with pytest.raises(BadInput, match="reach 70,000, more than the cache's half precision holds"):
        to_half(torch.tensor([1.0, -7e4]), "features")
    assert to_half(torch.tensor([torch.inf, 6e4]), "features").tolist()[0] == torch.inf


# the cache


def test_each_picture_is_asked_for_once_and_always_says_the_same(tmp_path: Path) -> None:
    task = task_of()
    cache = cache_for(tmp_path / "c", task)
    ask = Counted(task.parts[0].compute)
    first = cache.get_or_compute(image_of(3, 1, 4, 5), Origin(View(0), (3, 1, 4, 5), PX), ask)
    assert ask.pictures == 4
    again = cache.get_or_compute(image_of(5, 3), Origin(View(0), (5, 3), PX), ask)
    assert ask.pictures == 4
    assert all(torch.equal(a[[3, 0]], b) for a, b in zip(first.features, again.features, strict=True))
    live = task.parts[0].compute(image_of(3, 1, 4, 5))
    form = RecordLayout(task.parts[0].required, live)
    assert same(first, form.unpack(form.pack(live)))
    cache.get_or_compute(image_of(30, 31), Origin(View(1), (3, 1), PX), ask)
    assert ask.pictures == 6
    cache.close()


def test_a_picture_that_occurs_twice_in_a_batch(tmp_path: Path) -> None:
    task = task_of()
    cache = cache_for(tmp_path / "c", task)
    ask = Counted(task.parts[0].compute)
    twice = cache.get_or_compute(image_of(2, 7, 2), Origin(View(0), (2, 7, 2), PX), ask)
    assert ask.pictures == 2 and all(torch.equal(one[0], one[2]) for one in twice.features)
    assert any(not torch.equal(one[0], one[1]) for one in twice.features)
    cache.close()


def test_a_record_that_is_missing_takes_its_batch_with_it(tmp_path: Path) -> None:
    """What is computed in a step must not depend on how far a killed run had come."""
    task = task_of()
    cache = cache_for(tmp_path / "c", task)
    sizes: list[int] = []

    def ask(image: Tensor) -> TeacherOutputs:
        sizes.append(len(image))
        return task.parts[0].compute(image)

    cache.get_or_compute(image_of(0, 1), Origin(View(0), (0, 1), PX), ask)
    cache.get_or_compute(image_of(0, 1, 2, 3), Origin(View(0), (0, 1, 2, 3), PX), ask)
    assert sizes == [2, 4]
    cache.close()


@pytest.mark.parametrize("preset", ["light", SIZED], ids=["one size", "sizes"])
def test_the_budget_is_kept_and_what_is_beyond_is_asked_each_time(tmp_path: Path, preset: Preset | str) -> None:
    task = task_of()
    views = views_of(preset)
    whole = cache_for(tmp_path / "whole", task, views=views)
    wanted = whole.size().total
    sides = [views.sides_px(view).tolist() for view in (View(0), View(1))]
    assert wanted == sum(whole.layouts[side].bytes for column in sides for side in column) == whole.size().capacity
    part = cache_for(tmp_path / "part", task, budget=int(wanted * 0.7), views=views)
    assert (
        part.size().capacity <= wanted * 0.7
        and part.capacity(View(0)) == PICTURES
        and 0 < part.capacity(View(1)) < PICTURES
    )
    ask = Counted(task.parts[0].compute)
    side = sides[1][0]
    beyond = part.capacity(View(1))
    while sides[1][beyond] != side and beyond < PICTURES - 1:
        beyond += 1
    if sides[1][beyond] == side:
        origin = Origin(View(1), (beyond, 0), side)
        image = image_of(beyond, 0, side=side)
        first, second = part.get_or_compute(image, origin, ask), part.get_or_compute(image, origin, ask)
        assert ask.pictures == 3 and same(first, second)
    for cache in (whole, part):
        cache.close()
    assert sum(file.stat().st_size for file in (tmp_path / "part").glob("*.records")) <= wanted * 0.7


def test_no_budget_at_all_and_views_that_nobody_planned(tmp_path: Path) -> None:
    task = task_of()
    cache = cache_for(tmp_path / "c", task, budget=0)
    ask = Counted(task.parts[0].compute)
    for view in (View(0), View(5)):
        cache.get_or_compute(image_of(0), Origin(view, (0,), PX), ask)
    assert ask.pictures == 2 and not list((tmp_path / "c").glob("*.records"))
    cache.close()


def test_it_outlives_its_run_and_its_marks_tell_what_is_whole(tmp_path: Path) -> None:
    task = task_of()
    origin, image = Origin(View(0), (0, 1, 2, 3), PX), image_of(0, 1, 2, 3)
    cache = cache_for(tmp_path / "c", task)
    first = cache.get_or_compute(image, origin, task.parts[0].compute)
    cache.flush()
    cache.close()
    size = next(iter(cache.layouts.values())).bytes

    def told(spoil: Callable[[Path, Path], None]) -> tuple[int, list[str]]:
        folder = tmp_path / "c"
        spoil(folder / "view-000.records", folder / "view-000.marks")
        said: list[str] = []
        again = TeacherCache.open(
            folder, {"seed": 0}, contents_of(task, views_of()), task.parts[0].compute, CPU, 10**9, said.append
        )
        ask = Counted(task.parts[0].compute)
        assert same(again.get_or_compute(image, origin, ask), first)
        second = Counted(task.parts[0].compute)
        again.get_or_compute(image, origin, second)
        assert second.pictures == 0
        again.close()
        return ask.pictures, said

    def flip(records: Path, marks: Path) -> None:
        damaged = bytearray(records.read_bytes())
        damaged[size + 100] ^= 1
        records.write_bytes(damaged)

    def torn_data(records: Path, marks: Path) -> None:
        records.write_bytes(records.read_bytes()[: 3 * size + 10])

    def torn_mark(records: Path, marks: Path) -> None:
        marks.write_bytes(marks.read_bytes()[:19])

    def none(records: Path, marks: Path) -> None:
        pass

    assert told(none) == (0, [])
    for spoil in (flip, torn_data):
        asked, said = told(spoil)
        assert asked == 4 and len(said) == 1 and "1 damaged record of view-000, computed again" in said[0]
    assert told(torn_mark) == (4, [])
    assert told(lambda records, marks: records.unlink())[0] == 4


def test_a_record_without_its_mark_is_not_there(tmp_path: Path) -> None:
    """As kill -9 between the two writes leaves it."""
    task = task_of()
    cache = cache_for(tmp_path / "c", task)
    cache.get_or_compute(image_of(0, 1), Origin(View(0), (0, 1), PX), task.parts[0].compute)
    cache.close()
    marks = tmp_path / "c" / "view-000.marks"
    marks.write_bytes(marks.read_bytes()[:8] + bytes(8))
    again = cache_for(tmp_path / "c", task)
    assert again.size().present == 1 and again.missing(View(0)) == PICTURES - 1
    again.close()


def test_another_run_s_cache_is_refused_with_what_differs(tmp_path: Path, data: DataSet) -> None:
    task, views = task_of(), views_of()
    teacher = {"teacher": "yolo11n", "teacher_sha256": "ab" * 32, "teacher_half": False}
    key = cache_key(task.parts[0], task, data, views, teacher)
    cache_for(tmp_path / "c", task, key).close()
    cache_for(tmp_path / "c", task, key).close()
    bgr = copy.deepcopy(task)
    bgr.detector.preprocess = dataclasses.replace(task.detector.preprocess, scale=0.5)
    fewer = dataclasses.replace(data, pictures=data.pictures[1:])
    others = {
        "teacher_sha256": cache_key(task.parts[0], task, data, views, {**teacher, "teacher_sha256": "cd" * 32}),
        "teacher_half": cache_key(task.parts[0], task, data, views, {**teacher, "teacher_half": True}),
        "seed": cache_key(task.parts[0], task, data, Views(2, PICTURES, BATCH, 1, views.preset, PX), teacher),
        "input_px": cache_key(task.parts[0], task, data, Views(2, PICTURES, BATCH, 0, views.preset, 96), teacher),
        "augmentation": cache_key(task.parts[0], task, data, views_of("damo"), teacher),
        "preprocess": cache_key(bgr.parts[0], bgr, data, views, teacher),
        "contents_sha256": cache_key(task.parts[0], task, fewer, views, teacher),
        "kept": cache_key(task_of(responses=()).parts[0], task, data, views, teacher),
    }  # fmt: skip
    for name, other in others.items():
        with pytest.raises(BadInput, match=f"was made for {name}=.* choose another with --cache"):
            cache_for(tmp_path / "c", task, other)
    # the number of views is nobody's matter: each is the same whatever their number
    assert cache_key(task.parts[0], task, data, views_of(count=5), teacher) == key


def test_pictures_that_changed_on_disk_are_another_data_set(tmp_path: Path) -> None:
    make(tmp_path / "data", 5, 0, lambda text: None)
    data = open_data(tmp_path / "data", "train")
    task, views = task_of(), views_of()
    before = cache_key(task.parts[0], task, data, views, {})
    with Path(data.pictures[0].file).open("ab") as file:
        file.write(b"x")
    after = cache_key(task.parts[0], task, data, views, {})
    assert {name for name in before if before[name] != after[name]} == {"contents_sha256"}


def test_what_is_no_cache_or_in_use_is_left_alone(tmp_path: Path) -> None:
    task = task_of()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(BadInput, match=r"holds 'thesis.txt' and no cache\.json, so it is no teacher cache"):
        cache_for(tmp_path / "mine", task)
    cache_for(tmp_path / "c", task).close()
    for text, words in (
        ("{", r"cache.json. is not JSON"),
        ("[]", "cache.json is damaged"),
        ("{}", "was made for format=None, not 1"),
    ):
        (tmp_path / "c" / "cache.json").write_text(text)
        with pytest.raises(BadInput, match=words):
            cache_for(tmp_path / "c", task)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadInput, match="cannot write teacher cache"):
        cache_for(file, task)


def test_a_disk_without_room_is_told_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(BadInput, match="--cache-gb"):
        cache_for(tmp_path / "c", task_of())


# what a run sees of it


def test_a_run_asks_once_a_view_and_clears_up_when_it_is_done(data: DataSet, tmp_path: Path) -> None:
    recipe = load_recipe(
        "small", {"views": 2, "epochs": 6, "closing_epochs": 2, "batch": BATCH, "nominal_batch": BATCH}
    )
    told: list[str] = []
    for whole in (False, True):
        task = task_of()
        ask = Counted(task.parts[0].teacher)
        task.parts[0].compute = ask  # type: ignore[method-assign,assignment]
        with use_cache(
            task, [{"teacher": "t"}], data, recipe, CacheOptions(tmp_path), input_px=PX, seed=0, log=told.append
        ) as ready:
            assert task.parts[0].cache is not None
            loop = Loop(task, recipe, 18, 3)
            if not whole:
                ready(loop)
            before = ask.pictures
            plan = BatchPlan(BATCH, 0, views=2)
            with Loader(data, task.detector.preprocess, recipe.augmentation, PX, plan, ReadOptions(0)) as loader:
                for epoch in range(6 if whole else 2):
                    for batch in loader.epoch(epoch, closing=epoch >= 4):
                        # the tiny detector knows three of the classes
                        known = dataclasses.replace(
                            batch.targets, labels=tuple(labels % CLASSES for labels in batch.targets.labels)
                        )
                        assert not loop.advance([dataclasses.replace(batch, targets=known)]).rolled_back
            # two views, then those of the last epochs; a batch that is filled up is asked for as a whole
            assert ask.pictures - before == 2 * len(loader) * BATCH
            task.settle()
        assert (tmp_path / "teacher-cache").exists() != whole
    assert len(told) == 1 and "10 images x 2 views + 2 of the last epochs" in told[0] and "of 20 GB budget" in told[0]


def test_what_a_run_takes_is_said_and_nothing_is_learnt_from_measuring(data: DataSet) -> None:
    recipe = load_recipe("small", {"epochs": 3, "closing_epochs": 1, "batch": BATCH, "nominal_batch": BATCH})
    task, twin = task_of(), task_of()
    loop, other = Loop(task, recipe, 9, 3), Loop(twin, recipe, 9, 3)
    before = copy.deepcopy(loop.state())
    text = describe_cost(loop, task, PICTURES, PX, [])
    assert "runs in 9 of 9 steps" in text and "on this machine" in text
    flat = [(name, value, before["task"][name]) for name, value in loop.state()["task"].items()]
    assert all(torch.equal(a, b) for _, a, b in flat) and all(p.grad is None for p in task.parameters())
    batch = SyntheticBatch.random(BATCH, PX, CLASSES, task.detector.preprocess, seed=4)
    for one in (loop, other):
        one.advance([batch])
    ours, theirs = task.state_dict(), twin.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("teachers", "dear"), [(0.2, False), (0.3, True)])
def test_a_dear_teacher_is_announced_with_the_way_out(
    teachers: float, dear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0.25 and 0.43 of what a step of one second takes without the teacher
    monkeypatch.setattr("distill.teach.cache.cost_estimate.time_steps", lambda *given: StepTimes(1.0, teachers))
    task = task_of()
    loop = Loop(task, load_recipe("small", {"epochs": 3, "batch": BATCH, "nominal_batch": BATCH}), 9, 3)
    text = describe_cost(loop, task, PICTURES, PX, [])
    assert f"{100 * teachers:.0f} % of each" in text and ("--cache-views" in text) == dear


def test_the_views_that_need_a_teacher() -> None:
    recipe = load_recipe("small", {"views": 4, "epochs": 10, "closing_epochs": 3})
    found = teacher_views(recipe, Schedule(1, 0.1, 0.2), views_of(count=4))
    # epochs 0 to 6 open, 7 closing, 8 and 9 without a teacher
    assert found == {View(0): 2, View(1): 2, View(2): 2, View(3): 1, View(3, True): 1}
    assert list(found) == [View(0), View(1), View(2), View(3), View(3, True)]


def test_a_teacher_that_learns_is_not_remembered(data: DataSet, tmp_path: Path) -> None:
    from distill.teach.self_teacher import SelfTeacher

    student = tiny_detector()
    task = DistillationTask(student, [SelfTeacher(student)], DistillationSettings(responses={}))
    recipe = load_recipe("small", {"views": 2, "epochs": 6, "closing_epochs": 1})
    with use_cache(task, [{"teacher": "self"}], data, recipe, CacheOptions(tmp_path), input_px=PX, seed=0):
        assert task.parts[0].cache is None
    assert not task.parts[0].teacher.is_fixed and task_of().parts[0].teacher.is_fixed


def test_an_ensemble_has_a_cache_a_teacher(data: DataSet, tmp_path: Path) -> None:
    student = tiny_detector()
    task = DistillationTask(
        student,
        [task_of(name).parts[0].teacher for name in ("yolo11n", "yolox-nano")],
        DistillationSettings(responses={}),
    )
    recipe = load_recipe("small", {"views": 1, "epochs": 2, "closing_epochs": 0})
    facts = [{"teacher": name} for name in ("yolo11n", "yolox-nano")]
    with use_cache(
        task, facts, data, recipe, CacheOptions(tmp_path, folder=str(tmp_path / "kept")), input_px=PX, seed=0
    ):
        assert all(part.cache is not None for part in task.parts)
    keys = [json.loads(file.read_text())["teacher"] for file in (tmp_path / "kept").glob("*/cache.json")]
    assert sorted(keys) == ["yolo11n", "yolox-nano"]
    with use_cache(task, facts, data, recipe, CacheOptions(tmp_path / "run"), input_px=PX, seed=0):
        assert (tmp_path / "run" / "teacher-cache" / "teacher-2" / "cache.json").exists()


def test_a_cache_that_could_never_be_used_is_refused() -> None:
    new, again = (load_recipe("small", {"views": views}) for views in (0, 3))
    check_cache(again, "folder", 3.0)
    check_cache(new, None, 0.0)
    for folder, budget, words in (("folder", None, "--cache stores"), (None, 2.0, "--cache-gb stores")):
        with pytest.raises(BadInput, match=words):
            check_cache(new, folder, budget)
    with pytest.raises(BadInput, match=r"--cache-gb -1\.0: must be a number at least 0"):
        check_cache(again, None, -1.0)
    with pytest.raises(BadInput, match="views -1: must be a whole number"):
        load_recipe("small", {"views": -1})
