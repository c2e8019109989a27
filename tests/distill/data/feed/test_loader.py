"""The loader: batches follow from seed, epoch and step; memory does not grow; workers end with the loader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("PIL")

from distill.data.dataset import DataSet
from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.evaluation_batches import evaluation_batches
from distill.data.feed.loader import Batch, Loader, ReadOptions
from distill.data.feed.presets import PRESETS, find_preset
from distill.data.feed.scene import BoxFilter
from distill.data.feed.worker_pool import WorkerPool
from distill.data.feed.worker_tuner import WorkerTuner
from tests.distill.data.painted import painted, synthetic_set, write_set
from workbench.errors import BadInput
from zoo.images import Preprocess, prepare, read_image

HOW = Preprocess("bgr", 1.0, (1.0, 2.0, 3.0), (2.0, 1.0, 0.5), resize="letterbox-center")
SIDE_PX = 96
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return synthetic_set(tmp_path_factory.mktemp("set"), 22)


def loader(
    data: DataSet, preset: str = "light", batch: int = 4, workers: int | None = 0, multi_scale: float | None = None,
    cache_bytes: int = 10**7, skip_broken: bool = False, **plan: int,
) -> Loader:  # fmt: skip
    chosen = find_preset(preset) if multi_scale is None else find_preset(preset).with_sizes(multi_scale)
    read = ReadOptions(workers, cache_bytes, skip_broken=skip_broken)
    return Loader(data, HOW, chosen, SIDE_PX, BatchPlan(batch, 7, **plan), read)


def same(one: Batch, other: Batch) -> bool:
    pairs = [(one.image, other.image), (one.indices, other.indices)]
    for a, b in zip(
        (one.targets.boxes, one.targets.labels, one.targets.ignored),
        (other.targets.boxes, other.targets.labels, other.targets.ignored),
        strict=True,
    ):
        pairs += list(zip(a, b, strict=True))
    return (one.epoch, one.step) == (other.epoch, other.step) and all(torch.equal(a, b) for a, b in pairs)


def all_same(ones: list[Batch], others: list[Batch]) -> bool:
    return len(ones) == len(others) and all(same(a, b) for a, b in zip(ones, others, strict=True))


@pytest.mark.parametrize("preset", ["yolox", "detr"])
def test_batches_do_not_depend_on_workers_or_cache(data: DataSet, preset: str) -> None:
    with loader(data, preset, multi_scale=0.4) as plain:
        wanted = [batch for epoch in (0, 1) for batch in plain.epoch(epoch)]
    assert len({batch.image.shape[-1] for batch in wanted}) > 1, "several sizes"
    for workers, cache_bytes in ((1, 0), (3, 10**7)):
        with loader(data, preset, workers=workers, cache_bytes=cache_bytes, multi_scale=0.4) as one:
            assert all_same([batch for epoch in (0, 1) for batch in one.epoch(epoch)], wanted)


def test_an_epoch_goes_on_from_any_step(data: DataSet) -> None:
    with loader(data, workers=2) as one:
        whole = list(one.epoch(3))
        assert all_same(list(one.epoch(3, start_step=4)), whole[4:])
        assert list(one.epoch(3, start_step=len(one))) == []
        assert not same(next(iter(one.epoch(4))), whole[0])
    with loader(data, workers=0) as other:
        assert all_same(list(other.epoch(3, start_step=2)), whole[2:])


def test_two_machines_see_what_one_sees(data: DataSet) -> None:
    with (
        loader(data, "yolox", batch=6) as one,
        loader(data, "yolox", batch=6, rank=0, world=2) as left,
        loader(data, "yolox", batch=6, rank=1, world=2) as right,
    ):
        for whole, first, second in zip(one.epoch(1), left.epoch(1), right.epoch(1), strict=True):
            assert torch.equal(whole.image, torch.cat([first.image, second.image]))
            assert torch.equal(whole.indices, torch.cat([first.indices, second.indices]))
            assert all(
                torch.equal(a, b)
                for a, b in zip(whole.targets.boxes, first.targets.boxes + second.targets.boxes, strict=True)
            )


def test_every_picture_once_an_epoch_and_the_last_batch_filled(data: DataSet) -> None:
    with loader(data) as one:
        assert len(one) == 6
        for epoch in range(3):
            order = one.batches.order(epoch)
            assert sorted(order[:22].tolist()) == list(range(22)) and order[22:].tolist() == order[:2].tolist()
        assert one.batches.order(0).tolist() != one.batches.order(1).tolist()
    few = DataSet(data.root, data.name, data.classes, data.pictures[:3])
    with loader(few, batch=8) as one:
        (batch,) = one.epoch(0)
        assert batch.image.shape[0] == 8 and set(batch.indices.tolist()) == {0, 1, 2}


def test_sizes_follow_from_epoch_and_step(data: DataSet) -> None:
    with loader(data, "yolox", multi_scale=0.4) as one, loader(data, "yolox", workers=1, multi_scale=0.4) as other:
        sizes = {one.batches.side_px(epoch, step) for epoch in range(10) for step in range(0, 40, 10)}
        assert sizes == {64, 96, 128} and all(
            one.batches.side_px(2, step) == one.batches.side_px(2, 0) for step in range(10)
        ), "ten steps share one"
        for epoch in range(3):
            for batch in other.epoch(epoch):
                assert batch.image.shape == (
                    4,
                    3,
                    one.batches.side_px(epoch, batch.step),
                    one.batches.side_px(epoch, batch.step),
                )
                ends = torch.cat(batch.targets.boxes)
                assert ends.min() >= 0 and ends.max() <= batch.image.shape[-1]
    with loader(data, "detr", multi_scale=0.4) as one:
        assert (
            {one.batches.side_px(0, step, closing=True) for step in range(20)}
            == {SIDE_PX}
            != {one.batches.side_px(0, step) for step in range(20)}
        )


def test_closing_epochs_are_as_evaluation_sees_them(data: DataSet) -> None:
    """With the flip off, too: what is left of a mosaic recipe is the picture itself, prepared as for prediction."""
    preset = replace(PRESETS["damo"].without("flip"), box_filter=BoxFilter(0.0, 0.0))
    with Loader(data, HOW, preset, SIDE_PX, BatchPlan(4, 0), ReadOptions(workers=1)) as one:
        batch = next(iter(one.epoch(0, closing=True)))
        mosaics = next(iter(one.epoch(0)))
    images, places = prepare([read_image(data.pictures[index].file) for index in batch.indices.tolist()], SIDE_PX, HOW)
    off = (batch.image - images).abs() * torch.tensor(HOW.std)[:, None, None]
    assert off.max() <= 1.001, "a level, as cv2 and torch round differently"
    assert (mosaics.image - images).abs().mean() > 10
    for index, place, boxes, ignored in zip(
        batch.indices.tolist(), places, batch.targets.boxes, batch.targets.ignored, strict=True
    ):
        picture = data.pictures[index]
        assert torch.allclose(boxes, place.to_input(torch.from_numpy(picture.boxes[~picture.crowd])), atol=1e-3)
        assert torch.allclose(ignored, place.to_input(torch.from_numpy(picture.boxes[picture.crowd])), atol=1e-3)


def test_crowds_are_ignored_and_not_taught(tmp_path: Path) -> None:
    data = write_set(tmp_path, [painted([(5, 5, 30, 30), (50, 40, 90, 80)], 96, 96, [True])] * 2)
    with loader(data, "none", batch=2) as one:
        targets = next(iter(one.epoch(0))).targets
    assert [b.tolist() for b in targets.boxes] == [[[50, 40, 90, 80]]] * 2 and [
        b.tolist() for b in targets.ignored
    ] == [[[5, 5, 30, 30]]] * 2
    assert (
        targets.labels[0].dtype == torch.int64 and targets.boxes[0].dtype == targets.ignored[0].dtype == torch.float32
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("harm", ["corrupt", "vanished"])
def test_a_broken_picture_is_named(tmp_path: Path, workers: int, harm: str) -> None:
    data = synthetic_set(tmp_path, 8)
    file = data.pictures[5].file
    with (
        loader(data, batch=2, workers=workers) as one,
        loader(data, batch=2, workers=workers, skip_broken=True) as skipping,
    ):
        if harm == "corrupt":
            file.write_bytes(file.read_bytes()[:2000])
        else:
            file.unlink()
        with pytest.raises(BadInput, match=file.name):
            list(one.epoch(0))
        assert (
            len(list(skipping.epoch(0))) == 4 and list(skipping.broken) == [file] and file.name in skipping.broken[file]
        )
        with pytest.raises(BadInput, match=file.name):
            list(one.epoch(1))


def test_leaving_an_epoch_early_does_not_disturb_the_next(data: DataSet) -> None:
    with loader(data) as plain, loader(data, workers=2) as one:
        wanted = list(plain.epoch(1))
        for batch in one.epoch(0):
            if batch.step == 2:
                break
        assert all_same(list(one.epoch(1)), wanted)
        two = (one.epoch(0), one.epoch(1))
        next(two[0]), next(two[1])
        with pytest.raises(RuntimeError, match="another iteration"):
            next(two[0])
        assert len(list(two[1])) == len(one) - 1, "the newer one goes on"
        assert all_same(list(one.epoch(1)), wanted)


def test_workers_share_the_cache(tmp_path: Path) -> None:
    data = synthetic_set(tmp_path, 8)
    with loader(data, "none", batch=2, workers=2) as one:
        wanted = [batch.image.clone() for batch in one.epoch(0)]
        for picture in data.pictures:
            picture.file.unlink()
        again = [batch.image for batch in one.epoch(0)]
    assert all(torch.equal(a, b) for a, b in zip(wanted, again, strict=True))


def own_kib(pid: int) -> int:
    """Memory of a process that is nobody else's, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("no RssAnon")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
def test_memory_does_not_grow(data: DataSet) -> None:
    with loader(data, "yolox", batch=4, workers=2) as one:
        kib = []
        for epoch in range(5):
            for batch in one.epoch(epoch):
                assert batch.image.isfinite().all()
            kib.append([own_kib(pid) for pid in (os.getpid(), *one.worker_pids)])
    assert max(np.subtract(kib[4], kib[0])) < 2048, kib


def test_shared_memory_has_no_name(data: DataSet) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("no /dev/shm here")
    before = {p.name for p in shm.iterdir()}
    with loader(data, workers=2) as one:
        next(iter(one.epoch(0)))
        assert {p.name for p in shm.iterdir()} <= before


def test_waiting_is_measured(data: DataSet) -> None:
    with loader(data, "none", batch=1, workers=1) as one:
        list(one.epoch(0))
        list(one.epoch(1))
        assert one.waited_share > 0.5, "nothing but the loader works"
        for _ in one.epoch(2):
            time.sleep(0.05)
        assert 0 < one.waited_share < 0.4 and one.total_s > 1.0


def gone(pids: tuple[int, ...], seconds: float = 10.0) -> bool:
    """Whether all processes end in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(
            Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()
            for pid in pids
            if _is_there(pid)
        ):
            return True
        time.sleep(0.05)
    return False


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_end_with_the_loader(data: DataSet) -> None:
    one = loader(data, workers=2)
    next(iter(one.epoch(0)))
    pids = one.worker_pids
    assert len(pids) == 2 and all(_is_there(pid) for pid in pids)
    one.close()
    one.close()
    assert not any(_is_there(pid) for pid in pids), "and leave no zombie"
    with pytest.raises(ZeroDivisionError), loader(data, workers=2) as two:
        pids = two.worker_pids
        for _ in two.epoch(0):
            raise ZeroDivisionError
    assert not any(_is_there(pid) for pid in pids)


SCRIPT = """
import sys, time
from pathlib import Path
from tests.distill.data.feed.test_loader import loader
from tests.distill.data.painted import synthetic_set
one = loader(synthetic_set(Path(sys.argv[1]), 8), batch=2, workers=2)
batches = one.epoch(0)
next(batches)
print(*one.worker_pids, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked up in Linux's /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C reaches the whole group; -9 reaches the parent alone."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell lets background jobs ignore it
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        pids = tuple(int(pid) for pid in parent.stdout.readline().split())
        assert len(pids) == 2
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)
        else:
            os.kill(parent.pid, how)
        _, errors = parent.communicate(timeout=20)
        assert gone(pids)
        if how == signal.SIGINT:
            assert errors.count("KeyboardInterrupt") == 1, "workers say nothing"
    finally:
        parent.kill()


def test_a_killed_worker_is_an_error_that_says_so(data: DataSet) -> None:
    with loader(data, workers=2) as one:
        batches = one.epoch(0)
        next(batches)
        os.kill(one.worker_pids[0], signal.SIGKILL)
        with pytest.raises(BadInput, match=r"SIGKILL.*memory"):
            for _ in range(9):
                next(batches)
        assert one.worker_pids == ()


def test_an_unforeseen_error_in_a_worker_shows_where() -> None:
    def task(job: int, room: np.ndarray) -> int:
        room[:] = job
        return 10 // job

    with WorkerPool(task, 4, 2) as pool:
        assert [(reply, pixels.tolist()) for reply, pixels in pool.ordered([5, 2, 1, 10])] == [
            (2, [5] * 4),
            (5, [2] * 4),
            (10, [1] * 4),
            (1, [10] * 4),
        ]
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            list(pool.ordered([1, 0, 1]))
        assert [reply for reply, _ in pool.ordered([1, 2])] == [10, 5], "the pool goes on"


def test_a_pool_grows_and_shrinks_without_losing_order() -> None:
    def task(job: int, room: np.ndarray) -> int:
        time.sleep(0.002 * (job % 3))
        return job

    with WorkerPool(task, 1, 1, most=3) as pool:
        seen = []
        change: dict[int, Callable[[], None]] = {
            10: pool.add,
            20: pool.add,
            25: pool.add,
            40: pool.remove,
            45: pool.remove,
            50: pool.remove,
        }
        sizes = set()
        for reply, _ in pool.ordered(range(80)):
            seen.append(reply)
            change.get(reply, lambda: None)()
            sizes.add(pool.size)
        assert seen == list(range(80)) and sizes == {1, 2, 3} and pool.size == 1 and len(pool.pids) == 1


def tuned(wait_of: Callable[[int], float], steps: int = 2000, most: int = 8) -> list[int]:
    """Worker counts over time, when ``wait_of`` workers seconds of each step of a tenth are spent waiting."""
    tuner, workers, counts = WorkerTuner(most), 1, []
    for _ in range(steps):
        workers += tuner.update(wait_of(workers), 0.1, workers)
        counts.append(workers)
    return counts


def test_workers_are_tuned_by_waiting() -> None:
    assert set(tuned(lambda n: 0.001)) == {1}, "enough"
    assert tuned(lambda n: 0.08 / n)[-1] == 8 and max(tuned(lambda n: 0.08 / n, most=4)) == 4, "as long as it helps"
    assert tuned(lambda n: 0.08 / n**2)[-1] == 4, "until waiting is short"
    useless = tuned(lambda n: 0.05)
    assert max(useless) == 2 and useless[-1] == 1, "one that does not help goes again, and that is that"


def test_workers_by_itself(data: DataSet) -> None:
    with loader(data, workers=None) as one:
        assert 1 <= one.workers <= 16
        list(one.epoch(0))
        assert one.workers >= 1


@pytest.mark.parametrize(
    "how",
    [
        HOW,
        Preprocess("rgb", 1 / 255, resize="letterbox-corner"),
        Preprocess("rgb", 1.0, resize="stretch", antialias=True),
    ],
    ids=lambda how: how.resize,
)
def test_evaluation_sees_what_prediction_sees(data: DataSet, how: Preprocess) -> None:
    wanted, places = prepare([read_image(picture.file) for picture in data.pictures], SIDE_PX, how)
    for batch, workers in ((1, 0), (5, 2), (32, None)):
        batches = list(evaluation_batches(data, how, SIDE_PX, batch, workers))
        assert torch.equal(torch.cat([b.image for b in batches]), wanted)
        assert [p for b in batches for p in b.placements] == places
        assert [i for b in batches for i in b.indices] == list(range(22))
    halves = [list(evaluation_batches(data, how, SIDE_PX, 4, 0, rank=rank, world=2)) for rank in (0, 1)]
    assert sorted(i for half in halves for b in half for i in b.indices) == list(range(22))
    assert torch.equal(halves[1][0].image, wanted[[1, 3, 5, 7]])


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_names_a_broken_picture_or_reports_it(tmp_path: Path, workers: int) -> None:
    data = synthetic_set(tmp_path, 4)
    data.pictures[2].file.write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"002\.png"):
        list(evaluation_batches(data, HOW, SIDE_PX, 2, workers))
    told: list[tuple[Path, str]] = []
    batches = list(
        evaluation_batches(data, HOW, SIDE_PX, 2, workers, skip_broken=lambda file, reason: told.append((file, reason)))
    )
    assert len(batches) == 2 and [file for file, _ in told] == [data.pictures[2].file]
    assert batches[1].placements[0].width == data.pictures[2].width and len(batches[1].image[0].unique()) == 3, (
        "one grey, in three channels"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch": 0}, "batch of 0"), ({"world": 3, "rank": 0}, "batch of 4 over 3"), ({"rank": 1}, "rank 1 of 1"),
        ({"preset": "lihgt"}, "light"), ({"workers": -1}, "-1 workers"), ({"multi_scale": 1.5}, "1.5"),
    ],
)  # fmt: skip
def test_refusals(data: DataSet, change: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        loader(data, **change)  # type: ignore[arg-type]


def test_steps_that_are_not_there(data: DataSet) -> None:
    with loader(data) as one, pytest.raises(BadInput, match="from 0 to 6"):
        one.epoch(0, start_step=7)
