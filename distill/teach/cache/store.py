"""A teacher's answers on disk: one record for each view of each picture, computed once.

Training always goes by a record, even in the step that computes it, so that it does not matter to a single bit which
step that was. What is computed in a step follows from the batch and the budget alone: the pictures beyond the
budget by themselves, and those within it together as soon as one of them is missing. A run that was killed therefore goes
on to the same bits.

The folder holds ``cache.json`` (what the records were made for) and two files a view: the records, and one mark each, which is
written after its record and carries its checksum. A torn or damaged record is computed again. Processes that share
every batch (``distill.train.parallel``) share the files too, if they see the same disk: each writes the records of its pictures and
finds those of the others.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from distill.data.feed.views import Origin, View, Views
from distill.teach.cache.serialize import Form, Kept
from distill.teach.outputs import TeacherOutputs
from distill.train.parallel.group import group
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.locks import lock_folder

FORMAT = 1
THERE = 1 << 32
"""A mark is this and the record's CRC-32; 0 where there is no record."""
DEFAULT_GB = 20.0

Ask = Callable[[Tensor], TeacherOutputs]
"""The teacher: what it says of images ``[b, 3, h, w]``."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a cache takes, in bytes, and how much of it is there."""

    wanted: int
    """All views of all pictures."""
    room: int
    """What the budget holds of that."""
    budget: int
    there: int
    """Records that need no teacher any more."""


class TeacherCache:
    """Keeps what ``ask`` says. Use ``open``, and ``close`` it."""

    def __init__(
        self, folder: Path, lock: IO[str] | None, views: Views, used: Sequence[View], forms: Mapping[int, Form], budget_bytes: int,
        log: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.folder, self.views, self.forms, self._lock, self._say = folder, views, forms, lock, log
        self.used = tuple(used)
        self.budget_bytes = budget_bytes
        self._room = np.empty(0, np.uint8)
        self._files: dict[View, _ViewFile] = {}
        left = budget_bytes
        self.wanted_bytes = 0
        for view in self.used:
            sizes = np.array([forms[side].bytes for side in views.sides_px(view).tolist()], dtype=np.int64)
            file = _ViewFile(folder / str(view), sizes, left)
            self._files[view] = file
            left -= file.room_bytes
            self.wanted_bytes += int(sizes.sum())

    @staticmethod
    def open(
        folder: str | Path, key: Mapping[str, Any], views: Views, used: Sequence[View], kept: Kept, ask: Ask, device: torch.device,
        budget_bytes: int, log: Callable[[str], None] = lambda text: None,
    ) -> TeacherCache:  # fmt: skip
        """Make the folder, or go on with it when it was made for the same ``key``. ``used`` are the views that need a teacher,
        those that are seen most often first: the budget goes to them in that order.
        """
        path = Path(folder)
        forms = {side: Form(kept, ask(torch.zeros(1, 3, side, side, device=device))) for side in views.all_sides_px()}
        told = {"format": FORMAT, **key, "record_bytes": {str(side): form.bytes for side, form in forms.items()}}
        together = group()
        lock: IO[str] | None = None
        try:
            for turn in range(together.world):
                if turn == together.rank:
                    if together.writes:
                        # of the process: the loader's workers must not keep it when this one dies
                        lock = lock_folder(path, "teacher cache", "--cache", whole_process=True)
                    else:
                        _make(path)
                    _match(path, told)
                together.wait()
            cache = TeacherCache(path, lock, views, used, forms, budget_bytes, log)
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        try:
            cache.check_disk()
        except BaseException:
            cache.close()
            raise
        return cache

    def size(self) -> Size:
        """What it takes and holds."""
        files = self._files.values()
        return Size(self.wanted_bytes, sum(file.room_bytes for file in files), self.budget_bytes, sum(file.there for file in files))

    def fits(self, view: View) -> int:
        """How many pictures of a view have a place: the first ones of the data."""
        return self._files[view].room

    def missing(self, view: View) -> int:
        """How many of those are not there yet."""
        return self._files[view].room - self._files[view].there

    def check_disk(self) -> None:
        """Refuse to start what will not fit on the disk."""
        need = sum(file.room_bytes - file.there_bytes for file in self._files.values())
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise BadInput(
                f"the teacher cache needs {need / 1e9:,.1f} GB more in {str(self.folder)!r} and the disk has {free / 1e9:,.1f} GB left: "
                "give it less with --cache-gb, or another folder with --cache"
            )

    def recall(self, image: Tensor, origin: Origin, ask: Ask) -> TeacherOutputs:
        """What the teacher says of the batch ``image`` ``[b, 3, h, w]``; it is asked for what is not there only."""
        form = self.forms[origin.side_px]
        file = self._files.get(origin.view)
        room = file.room if file is not None else 0
        # a picture may occur twice in a batch; its first place speaks for both
        first = {index: at for at, index in reversed(list(enumerate(origin.indices)))}
        once = sorted(first, key=lambda index: first[index])
        within, beyond = [i for i in once if i < room], [i for i in once if i >= room]
        found = []
        if within and file is not None:
            rows = self._rows(len(within), form.bytes)
            there = file.read(within, rows)
            if file.damaged:
                self._say(f"teacher cache {str(self.folder)!r}: {file.damaged} damaged record{'s' * (file.damaged > 1)} of {origin.view}, computed again")
                file.damaged = 0
            if not all(there):
                computed = form.pack(ask(image[[first[index] for index in within]])).cpu().numpy()
                for at in range(len(within)):
                    if not there[at]:
                        file.write(within[at], computed[at])
                        rows[at] = computed[at]
            found.append(torch.from_numpy(rows).to(image.device))
        if beyond:
            found.append(form.pack(ask(image[[first[index] for index in beyond]])))
        records = found[0] if len(found) == 1 else torch.cat(found)
        order = [*within, *beyond]
        if tuple(order) != origin.indices:
            place = {index: at for at, index in enumerate(order)}
            records = records[[place[index] for index in origin.indices]]
        return form.unpack(records)

    def _rows(self, count: int, size: int) -> np.ndarray:
        """Room for records, uint8 ``[count, size]``, the same from step to step: fresh memory costs more than reading."""
        if self._room.size < count * size:
            self._room = np.empty(count * size, np.uint8)
        return self._room[: count * size].reshape(count, size)

    def settle(self) -> None:
        """Wait until every record so far is on disk: a state that was written after it can rely on them."""
        for file in self._files.values():
            file.settle()

    def close(self) -> None:
        """Close the files. May be called again."""
        for file in self._files.values():
            file.close()
        if self._lock is not None:
            self._lock.close()


class _ViewFile:
    """Records of one view, picture after picture, for the first pictures that ``budget`` bytes hold, and their marks."""

    def __init__(self, path: Path, sizes: np.ndarray, budget: int) -> None:
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self.room = int(np.searchsorted(self._starts, max(budget, 0), side="right")) - 1
        self.room_bytes = int(self._starts[self.room])
        self.damaged = 0
        """Records that did not match their checksums since somebody asked."""
        self._path = path
        self._open: list[int] = []
        self._dirty = False
        self._marks = np.zeros(self.room, np.uint64)
        self._trusted = np.zeros(self.room, bool)
        if not self.room:
            return
        try:
            self._open = [os.open(path.with_suffix(suffix), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666) for suffix in (".records", ".marks")]
            written = os.pread(self._open[1], 8 * self.room, 0)
        except OSError as error:
            raise _cannot(path, error) from error
        marks = np.frombuffer(written[: len(written) // 8 * 8], "<u8")
        self._marks[: len(marks)] = marks

    @property
    def there(self) -> int:
        """Records that are there."""
        return int(np.count_nonzero(self._marks))

    @property
    def there_bytes(self) -> int:
        return int((self._starts[1 : self.room + 1] - self._starts[: self.room])[self._marks != 0].sum())

    def read(self, indices: Sequence[int], rows: np.ndarray) -> list[bool]:
        """Read records into ``rows`` uint8 ``[records, bytes]``; says which of them are there and whole."""
        return [self._read(index, row) for index, row in zip(indices, rows, strict=True)]

    def _read(self, index: int, row: np.ndarray) -> bool:
        mark = int(self._marks[index]) or self._mark_of_another(index)
        if not mark:
            return False
        try:
            count = os.preadv(self._open[0], [row.data], int(self._starts[index]))
        except OSError as error:
            raise _cannot(self._path, error) from error
        if count < row.size or (not self._trusted[index] and mark != THERE | zlib.crc32(row.data)):
            self.damaged += 1
            self._marks[index] = 0
            return False
        self._trusted[index] = True
        return True

    def _mark_of_another(self, index: int) -> int:
        """The mark of a record that another process of the run has written by now; 0 where there is none."""
        if group().world == 1:
            return 0
        try:
            written = os.pread(self._open[1], 8, 8 * index)
        except OSError as error:
            raise _cannot(self._path, error) from error
        self._marks[index] = int.from_bytes(written, "little") if len(written) == 8 else 0
        return int(self._marks[index])

    def write(self, index: int, record: np.ndarray) -> None:
        """Keep a record; its mark is written when the record is."""
        mark = THERE | zlib.crc32(record.data)
        try:
            _write_all(self._open[0], record, int(self._starts[index]))
            _write_all(self._open[1], np.array([mark], "<u8"), 8 * index)
        except OSError as error:
            raise _cannot(self._path, error) from error
        self._marks[index], self._trusted[index], self._dirty = mark, True, True

    def settle(self) -> None:
        if self._dirty:
            try:
                for handle in self._open:
                    os.fsync(handle)
            except OSError as error:
                raise _cannot(self._path, error) from error
            self._dirty = False

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())


def _write_all(handle: int, data: np.ndarray, at: int) -> None:
    rest = memoryview(data.data).cast("B")
    while rest:
        count = os.pwrite(handle, rest, at)
        rest, at = rest[count:], at + count


def _cannot(path: Path, error: OSError) -> BadInput:
    return BadInput(
        f"teacher cache {str(path.parent)!r}: {error.strerror or error}; free some room, or give the cache less with --cache-gb or another folder with "
        "--cache; the run goes on from its last state"
    )


def _make(path: Path) -> None:
    """A worker's own folder, where it is on another machine than the one that holds the lock."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(path / "cache.json", error) from error


def _match(path: Path, told: Mapping[str, Any]) -> None:
    """Write down what the cache is for, or refuse one that was made for something else."""
    file = path / "cache.json"
    # As the file will give it back: a tuple is a list there.
    told = json.loads(json.dumps(told))
    way_out = "choose another with --cache, or delete that folder"
    if not file.exists():
        strangers = sorted(item.name for item in path.iterdir() if item.name != ".lock")
        if strangers:
            raise BadInput(f"{str(path)!r} holds {strangers[0]!r} and no cache.json, so it is no teacher cache: {way_out}")
        write_atomic(file, json.dumps(told, indent=1) + "\n")
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"teacher cache {str(path)!r}: cannot read cache.json ({' '.join(str(error).split())[:120]}): {way_out}") from error
    if not isinstance(before, dict):
        raise BadInput(f"teacher cache {str(path)!r}: cache.json is damaged: {way_out}")
    for name in sorted({*told, *before}):
        if told.get(name) != before.get(name):
            raise BadInput(f"teacher cache {str(path)!r} was made for {name}={_short(before.get(name))}, not {_short(told.get(name))}: {way_out}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
