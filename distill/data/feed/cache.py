"""The pictures of a data set, decoded and at the network's input size, in a memory-mapped file of limited size.

The file has no name on disk: it goes when the last process that uses it ends, however it ends. Its space is reserved
when it is made, so that a full disk is an error at the start and not a crash later. Forked processes share it, and
each picture is written by the process that decodes it first. Pictures beyond the budget, in the order of the data, are
decoded every time; nothing is ever evicted, and a picture's pixels are the same cached or not.

Annotations are in flat arrays: a forked process that reads Python objects copies them page by page (by counting
references), so that memory would grow.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from distill.data.dataset import DataSet
from distill.data.feed.scene import Scene, empty_scene
from workbench.errors import BadInput
from zoo.images import Preprocess, placement_of, read_image

MAX_BYTES = 4 * 2**30
"""Default limit of the cache, which is also at most a quarter of the free memory and half of the free disk."""
GRAY = 114
"""Level of the picture that replaces one that cannot be read."""


class Pictures:
    """Every picture of ``data`` as it fits in a square of ``input_px``, with its boxes there."""

    def __init__(
        self, data: DataSet, input_px: int, preprocess: Preprocess, cache_bytes: int | None = None,
        cache_folder: str | Path | None = None, skip_broken: bool = False,
    ) -> None:  # fmt: skip
        """``cache_bytes`` 0 caches nothing, None chooses. ``skip_broken`` replaces what cannot be read by gray."""
        pictures = data.pictures
        if not pictures:
            raise BadInput(f"split {data.name!r} of {data.root} has no pictures: there is nothing to load")
        if cache_bytes is not None and cache_bytes < 0:
            raise BadInput(f"cache of {cache_bytes} bytes: must be 0 or more")
        self.preprocess = preprocess
        self.input_px = input_px
        self.skip_broken = skip_broken
        self.broken: dict[int, str] = {}
        """Index to the reason, for pictures that this process could not read and skipped."""
        names = [os.fsencode(p.file) for p in pictures]
        self._names = np.frombuffer(b"".join(names), dtype=np.uint8)
        self._name_ends = np.cumsum([0, *map(len, names)])
        self._sizes = np.array([(p.height, p.width) for p in pictures], dtype=np.int64)
        fits = [placement_of(h, w, input_px, input_px, preprocess.resize) for h, w in self._sizes.tolist()]
        self._fits = np.array([size for _, size in fits], dtype=np.int64)
        self._corners = np.array([(placement.left, placement.top) for placement, _ in fits], dtype=np.int64)
        self._ends = np.cumsum([0, *(len(p.labels) for p in pictures)])
        self._boxes = np.concatenate([np.asarray(p.boxes, np.float32).reshape(-1, 4) for p in pictures])
        self._labels = np.concatenate([np.asarray(p.labels, np.int64) for p in pictures])
        self._crowd = np.concatenate([np.asarray(p.crowd, bool) for p in pictures])
        self.with_objects = np.flatnonzero([bool((~np.asarray(p.crowd, bool)).any()) for p in pictures])
        """Indices of the pictures that have an object."""
        self._cache = _Cache(self._fits.prod(1) * 3, cache_bytes, cache_folder)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def cached_bytes(self) -> int:
        """Size of the cache when it is full."""
        return self._cache.bytes

    @property
    def cached_pictures(self) -> int:
        """Pictures it has room for."""
        return self._cache.pictures

    def file(self, index: int) -> Path:
        """The file of picture ``index``."""
        return Path(os.fsdecode(self._names[self._name_ends[index] : self._name_ends[index + 1]].tobytes()))

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top pixel at which the family puts picture ``index`` into its input."""
        left, top = self._corners[index].tolist()
        return left, top

    def squeeze(self, index: int) -> float:
        """Factor by which fitting made picture ``index`` wider in relation to its height; 1 where its aspect stayed."""
        (h, w), (new_h, new_w) = self._sizes[index], self._fits[index]
        return float(new_w / w / (new_h / h))

    def original(self, index: int) -> np.ndarray:
        """The picture as it is in its file, uint8 ``[h, w, 3]``; its size must be what the data say."""
        image = read_image(self.file(index))
        stated = tuple(self._sizes[index].tolist())
        if image.shape[:2] != stated:
            raise BadInput(
                f"{self.file(index)}: {image.shape[1]} x {image.shape[0]} pixels, but the data say "
                f"{stated[1]} x {stated[0]}, so its boxes cannot be right; `nas data doctor` finds such pictures"
            )
        return image

    def scene(self, index: int) -> Scene:
        """Picture ``index`` fitted into the input, without the padding, with its boxes in pixels of that."""
        height, width = self._fits[index].tolist()
        image = self._cache.get(index, height, width)
        if image is None:
            try:
                image = self._fitted(self.original(index), height, width)
            except BadInput as error:
                if not self.skip_broken:
                    raise
                self.broken[index] = str(error)
                return empty_scene(np.full((height, width, 3), GRAY, np.uint8))
            self._cache.put(index, image)
        rows = slice(self._ends[index], self._ends[index + 1])
        h, w = self._sizes[index]
        boxes = self._boxes[rows] * np.array([width / w, height / h] * 2, dtype=np.float32)
        return Scene(image, boxes, self._labels[rows], self._crowd[rows], np.ones(len(boxes), np.float32))

    def _fitted(self, image: np.ndarray, height: int, width: int) -> np.ndarray:
        if image.shape[:2] == (height, width):
            return image
        shrinks = height < image.shape[0] and width < image.shape[1]
        how = cv2.INTER_AREA if shrinks and self.preprocess.antialias else cv2.INTER_LINEAR
        return cv2.resize(image, (width, height), interpolation=how)


class _Cache:
    """Room for the first pictures that the budget holds: their bytes, and a flag each whether they are there."""

    def __init__(self, sizes: np.ndarray, budget: int | None, folder: str | Path | None) -> None:
        where = Path(folder) if folder is not None else Path(tempfile.gettempdir())
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        limit = _default_budget(where) if budget is None else budget
        self.pictures = int(np.searchsorted(self._starts, limit, side="right")) - 1
        self.bytes = int(self._starts[self.pictures])
        self._memory: mmap.mmap | None = None
        if self.pictures:
            memory = _unnamed_memory(self.bytes + self.pictures, where)
            self._pixels = np.frombuffer(memory, np.uint8, self.bytes)
            self._is_there = np.frombuffer(memory, np.uint8, self.pictures, self.bytes)
            self._memory = memory

    def get(self, index: int, height: int, width: int) -> np.ndarray | None:
        if index >= self.pictures or not self._is_there[index]:
            return None
        image = self._pixels[self._starts[index] : self._starts[index + 1]].reshape(height, width, 3)
        image.flags.writeable = False
        return image

    def put(self, index: int, image: np.ndarray) -> None:
        if index < self.pictures:
            self._pixels[self._starts[index] : self._starts[index + 1]] = image.reshape(-1)
            # last: a process killed above leaves the picture absent, not half written
            self._is_there[index] = 1


def _default_budget(folder: Path) -> int:
    try:
        return min(MAX_BYTES, _free_memory() // 4, shutil.disk_usage(folder).free // 2)
    except OSError as error:
        raise BadInput(
            f"no picture cache can be made in {str(folder)!r} ({error.strerror or error}): "
            "give it another folder, or 0 bytes for none"
        ) from error


def _free_memory() -> int:
    """Bytes that programs may still take; half of all memory where the system does not say."""
    file = Path("/proc/meminfo")
    if file.is_file():
        lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
        return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), 0)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _unnamed_memory(size: int, folder: Path) -> mmap.mmap:
    """Shared memory backed by a file in ``folder`` that has no name any more."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise BadInput(
            f"no room for a picture cache of {size / 2**20:,.0f} MiB in {str(folder)!r} ({error.strerror or error}): "
            "give it fewer bytes, 0 for none, or another folder"
        ) from error
