"""A disk cache of teacher outputs: one record for each view of each image, computed once.

Training always uses the record, even in the step that computes it, so that no bit depends on which step that was. What
a step computes follows from its batch and the budget alone: images beyond the budget by themselves, and those within it
together as soon as one record is missing. A killed run therefore resumes with the same bits.

The folder holds ``cache.json`` (what the records were made for) and two files a view (``view_file``). Processes that
share every batch (``distill.train.parallel``) share the files too, if they see the same disk: each writes the
records of its images and finds those of the others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from distill.data.feed.views import Origin, View, Views
from distill.teach.cache.serialize import RecordLayout
from distill.teach.cache.view_file import ViewFile, disk_error
from distill.teach.outputs import RequiredOutputs, TeacherOutputs
from distill.train.parallel.group import group
from workbench.doors.json import read_json
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.locks import lock_folder

FORMAT = 1
DEFAULT_GB = 20.0

Compute = Callable[[Tensor], TeacherOutputs]
"""The teacher: its outputs for images ``[b, 3, h, w]``."""


@dataclass(frozen=True, slots=True)
class CacheContents:
    """What a cache is to hold."""

    views: Views
    used: tuple[View, ...]
    """Views that need a teacher, those shown most often first: the budget is spent in this order."""
    required: RequiredOutputs


@dataclass(frozen=True, slots=True)
class CacheSize:
    """The size of a cache in bytes, and how much of it is present."""

    total: int
    """All used views of all images."""
    capacity: int
    """The part of it that fits into the budget."""
    budget: int
    present: int
    """Number of records that need no teacher any more."""


class TeacherCache:
    """Caches the outputs of a teacher. Create it with ``open``, and ``close`` it."""

    def __init__(
        self,
        folder: Path,
        lock: IO[str] | None,
        contents: CacheContents,
        layouts: Mapping[int, RecordLayout],
        budget_bytes: int,
        log: Callable[[str], None],
    ) -> None:
        self.folder, self.views, self.layouts, self._lock, self._log = folder, contents.views, layouts, lock, log
        self.budget_bytes = budget_bytes
        self._buffer = np.empty(0, np.uint8)
        self._files: dict[View, ViewFile] = {}
        left = budget_bytes
        self.total_bytes = 0
        for view in contents.used:
            sides = self.views.sides_px(view).tolist()
            sizes = np.array([layouts[side].bytes for side in sides], dtype=np.int64)
            file = ViewFile(folder / str(view), sizes, left)
            self._files[view] = file
            left -= file.capacity_bytes
            self.total_bytes += int(sizes.sum())

    @staticmethod
    def open(
        folder: str | Path,
        key: Mapping[str, Any],
        contents: CacheContents,
        compute: Compute,
        device: torch.device,
        budget_bytes: int,
        log: Callable[[str], None] = lambda text: None,
    ) -> TeacherCache:
        """Create the folder, or reuse one that was made for the same ``key``."""
        path = Path(folder)
        layouts = {
            side: RecordLayout(contents.required, compute(torch.zeros(1, 3, side, side, device=device)))
            for side in contents.views.all_sides_px()
        }
        record_bytes = {str(side): layout.bytes for side, layout in layouts.items()}
        manifest = {"format": FORMAT, **key, "record_bytes": record_bytes}
        processes = group()
        lock: IO[str] | None = None
        try:
            for rank in range(processes.world):
                if rank == processes.rank:
                    if processes.writes:
                        # of the process: the loader's workers must not keep it when this one dies
                        lock = lock_folder(path, "teacher cache", "--cache", whole_process=True)
                    else:
                        _make_folder(path)
                    _check_manifest(path, manifest)
                processes.wait()
            cache = TeacherCache(path, lock, contents, layouts, budget_bytes, log)
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

    def size(self) -> CacheSize:
        """Its size and what is present."""
        files = self._files.values()
        capacity, present = sum(file.capacity_bytes for file in files), sum(file.present for file in files)
        return CacheSize(self.total_bytes, capacity, self.budget_bytes, present)

    def capacity(self, view: View) -> int:
        """Number of images of a view that fit: the first ones of the data."""
        return self._files[view].capacity

    def missing(self, view: View) -> int:
        """Number of those whose record is missing."""
        return self._files[view].capacity - self._files[view].present

    def check_disk(self) -> None:
        """Refuse to start if the cache will not fit on the disk."""
        need = sum(file.capacity_bytes - file.present_bytes for file in self._files.values())
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise BadInput(
                f"the teacher cache needs {need / 1e9:,.1f} GB more in {str(self.folder)!r} and the disk has "
                f"{free / 1e9:,.1f} GB left: give it less with --cache-gb, or another folder with --cache"
            )

    def get_or_compute(self, image: Tensor, origin: Origin, compute: Compute) -> TeacherOutputs:
        """The teacher's outputs for the batch ``image`` ``[b, 3, h, w]``; missing ones are computed and stored."""
        layout = self.layouts[origin.side_px]
        file = self._files.get(origin.view)
        capacity = file.capacity if file is not None else 0
        # an image may occur twice in a batch; its first position serves both
        position = {index: i for i, index in reversed(list(enumerate(origin.indices)))}
        unique = sorted(position, key=lambda index: position[index])
        stored = [index for index in unique if index < capacity]
        beyond = [index for index in unique if index >= capacity]
        parts = []
        if stored and file is not None:

            def compute_stored() -> np.ndarray:
                return layout.pack(compute(image[[position[index] for index in stored]])).cpu().numpy()

            rows = self._stored_records(file, stored, layout.bytes, compute_stored)
            self._report_damage(file, origin.view)
            parts.append(torch.from_numpy(rows).to(image.device))
        if beyond:
            parts.append(layout.pack(compute(image[[position[index] for index in beyond]])))
        records = parts[0] if len(parts) == 1 else torch.cat(parts)
        order = [*stored, *beyond]
        if tuple(order) != origin.indices:
            row = {index: i for i, index in enumerate(order)}
            records = records[[row[index] for index in origin.indices]]
        return layout.unpack(records)

    def _stored_records(
        self, file: ViewFile, indices: list[int], record_bytes: int, compute: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Records of images within the budget, uint8 ``[images, bytes]``; all are computed if one is missing."""
        rows = self._rows(len(indices), record_bytes)
        present = file.read(indices, rows)
        if not all(present):
            computed = compute()
            for i, index in enumerate(indices):
                if not present[i]:
                    file.write(index, computed[i])
                    rows[i] = computed[i]
        return rows

    def _report_damage(self, file: ViewFile, view: View) -> None:
        if file.damaged:
            records = f"{file.damaged} damaged record{'s' * (file.damaged > 1)}"
            self._log(f"teacher cache {str(self.folder)!r}: {records} of {view}, computed again")
            file.damaged = 0

    def _rows(self, count: int, size: int) -> np.ndarray:
        """A buffer for records, uint8 ``[count, size]``, reused in every step: allocating costs more than reading."""
        if self._buffer.size < count * size:
            self._buffer = np.empty(count * size, np.uint8)
        return self._buffer[: count * size].reshape(count, size)

    def flush(self) -> None:
        """Wait until all records are on disk: a training state that is written afterwards can rely on them."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Close the files. May be called again."""
        for file in self._files.values():
            file.close()
        if self._lock is not None:
            self._lock.close()


def _make_folder(path: Path) -> None:
    """The folder of a worker on another machine than the one that holds the lock."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path / "cache.json", error) from error


def _check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``cache.json``, or refuse a folder that was made for something else."""
    file = path / "cache.json"
    # as the file gives it back: tuples become lists
    manifest = json.loads(json.dumps(manifest))
    way_out = "choose another with --cache, or delete that folder"
    if not file.exists():
        others = sorted(item.name for item in path.iterdir() if item.name != ".lock")
        if others:
            raise BadInput(f"{str(path)!r} holds {others[0]!r} and no cache.json, so it is no teacher cache: {way_out}")
        write_atomic(file, json.dumps(manifest, indent=1) + "\n")
        return
    try:
        previous = read_json(file)
    except BadInput as error:
        raise BadInput(f"teacher cache {str(path)!r}: {error}: {way_out}") from error
    if not isinstance(previous, dict):
        raise BadInput(f"teacher cache {str(path)!r}: cache.json is damaged: {way_out}")
    for name in sorted({*manifest, *previous}):
        if manifest.get(name) != previous.get(name):
            before, now = _short(previous.get(name)), _short(manifest.get(name))
            raise BadInput(f"teacher cache {str(path)!r} was made for {name}={before}, not {now}: {way_out}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
