"""A run's folder ``runs/NAME``: its settings, its journal and what it produced, for searches and trainings alike.

The journal is append-only JSON lines, each numbered and check-summed. After a crash the torn last line is
cut off and the run goes on from the last state it finds; damage anywhere else is refused, not guessed at.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.locks import lock_folder

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a kind of run leaves in its folder besides settings and journal; ``fresh`` removes it."""

    made_by: str
    """``search`` or ``training``."""
    files: tuple[str, ...]
    """Names, or patterns with ``*``."""
    folders: tuple[str, ...]
    option: str = "--name"
    """What chooses another folder."""
    place: str = "--runs or --name"
    """What puts it elsewhere."""


class RunFolder:
    """Owner of one run folder. Use ``open``; ``close`` releases its lock."""

    def __init__(self, folder: Path, settings: dict[str, Any], lock: IO[str], products: RunFiles, new: bool) -> None:
        self.folder, self.settings, self._lock, self._products = folder, settings, lock, products
        self.notes: list[str] = []
        self.new = new
        """Whether the folder was made by this opening."""
        self._latest: dict[str, dict[str, Any]] = {}
        self._count = self._size = 0
        self._path = folder / "journal.jsonl"
        try:
            # Unbuffered: after a failed write nothing waits in memory that could land in the file later.
            self._journal = self._path.open("ab", buffering=0)
        except OSError as error:
            raise BadInput(f"cannot open journal {str(self._path)!r}: {error.strerror or error}; choose another {self._products.option}") from error
        try:
            self._replay()
        except BaseException:
            self._journal.close()
            raise

    @staticmethod
    def open(
        folder: str | Path, settings: Mapping[str, Any], versions: Mapping[str, str], products: RunFiles, fresh: bool = False
    ) -> RunFolder:
        """Create the folder, or go on with it when it was made with the same settings.

        ``versions`` are written down but may change between runs. ``fresh`` drops the ``products`` of an earlier run.
        """
        path = Path(folder)
        new = not path.exists()
        lock = lock_folder(path, "run folder", products.option, products.place)
        try:
            return RunFolder._open_locked(path, dict(settings), versions, products, fresh, lock, new)
        except BaseException:
            lock.close()
            raise

    @staticmethod
    def _open_locked(
        path: Path, settings: dict[str, Any], versions: Mapping[str, str], products: RunFiles, fresh: bool, lock: IO[str], new: bool
    ) -> RunFolder:
        file = path / "settings.yaml"
        # As the file will give them back: a tuple is a list there.
        settings = yaml.safe_load(yaml.safe_dump(settings))
        if fresh:
            _clear(path, products)
        if file.exists():
            before = _read_settings(file)
            for key in sorted({*before, *settings} - {"versions"}, key=str):
                if before.get(key) != settings.get(key):
                    raise BadInput(
                        f"run folder {str(path)!r} was made with {key}={before.get(key)!r}, not {settings.get(key)!r}: "
                        f"choose another {products.option}, or --fresh to start over"
                    )
        else:
            journal = path / "journal.jsonl"
            if journal.is_file() and journal.stat().st_size:
                raise BadInput(
                    f"run folder {str(path)!r} has a journal but no settings.yaml, so what it was for is unknown: "
                    f"restore that file, choose another {products.option}, or --fresh to start over"
                )
            write_atomic(file, yaml.safe_dump({**settings, "versions": dict(versions)}, sort_keys=False))
        return RunFolder(path, settings, lock, products, new)

    def append(self, kind: str, data: dict[str, Any]) -> None:
        """Write one record and wait until it is on disk. After a failure the journal still ends with the record before."""
        line = _line(self._count + 1, kind, data).encode("utf-8")
        try:
            # Cuts off what an earlier, failed write may have left; usually nothing.
            self._journal.truncate(self._size)
            rest = memoryview(line)
            while rest:
                rest = rest[self._journal.write(rest) :]
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise BadInput(
                f"cannot write journal {str(self._path)!r}: {error.strerror or error}; what it holds already is safe: "
                "mend that and run the same command again"
            ) from error
        self._count += 1
        self._size += len(line)
        self._latest[kind] = data

    def latest(self, kind: str) -> dict[str, Any] | None:
        """The last record of a kind, or None."""
        return self._latest.get(kind)

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished run's result, or None while it is unfinished."""
        return self._latest.get("done")

    def close(self) -> None:
        """Release the folder."""
        self._journal.close()
        self._lock.close()

    def undo(self) -> None:
        """Remove the folder of a run that came to nothing, if there was none before and nothing is written down to go on from."""
        if self.new and not self._count:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _replay(self) -> None:
        """Read the journal line by line, keeping the last record of each kind; cut off a torn last line."""
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        self.notes.append(f"the last journal line ({number}) was torn by a crash and has been dropped")
                        self._journal.truncate(self._size)
                        return
                    self._take(line, number)
        except OSError as error:
            raise BadInput(f"cannot read journal {str(self._path)!r}: {error.strerror or error}; choose another {self._products.option}") from error

    def _take(self, line: bytes, number: int) -> None:
        """Accept one whole journal line, or refuse the journal."""
        problem = ""
        try:
            record = json.loads(line, parse_constant=_refuse_constant)
            kind, data = record["kind"], record["data"]
            if not isinstance(kind, str) or not isinstance(data, dict):
                problem = "is not a journal record"
            elif record["n"] != number or _checksum(number, kind, data) != record["sum"]:
                problem = "does not match its checksum"
        except (ValueError, KeyError, TypeError, RecursionError):
            problem = "is not a journal record"
        if problem:
            raise BadInput(
                f"journal {str(self._path)!r}, line {number} {problem}: the file was changed or damaged; "
                "restore it, or start over with --fresh"
            )
        self._count = number
        self._size += len(line)
        self._latest[kind] = data


class RunFolderReader:
    """A run folder for a process that leaves the writing to another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, kind: str, data: dict[str, Any]) -> None:
        """The other one writes it down."""

    def close(self) -> None:
        """Nothing is held."""


def _refuse_constant(name: str) -> float:
    """JSON has no NaN or Infinity, and the journal never writes them."""
    raise ValueError(f"{name} in a journal")


def _line(number: int, kind: str, data: dict[str, Any]) -> str:
    return json.dumps({"n": number, "kind": kind, "sum": _checksum(number, kind, data), "data": data}, allow_nan=False) + "\n"


def _checksum(number: int, kind: str, data: Any) -> str:
    text = json.dumps([number, kind, data], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read {str(file)!r}: {' '.join(str(error).split())}; start over with --fresh") from error
    if not isinstance(data, dict):
        raise BadInput(f"{str(file)!r} holds no settings: start over with --fresh")
    return data


def _clear(path: Path, products: RunFiles) -> None:
    """Drop the products of an earlier run, and nothing else that may lie in the folder."""
    settings, journal = path / "settings.yaml", path / "journal.jsonl"
    made = [file for pattern in products.files for file in sorted(path.glob(pattern))]
    folders = [path / name for name in products.folders]
    present = [item.name for item in (settings, journal, *made, *folders) if item.exists()]
    if present and not _is_ours(path):
        raise BadInput(
            f"run folder {str(path)!r} holds {present[0]!r}, but no {products.made_by} made this folder, so --fresh leaves it alone: "
            f"choose another {products.option}"
        )
    try:
        for folder in folders:
            if folder.exists():
                shutil.rmtree(folder)
        # The settings go last: a half-cleared folder is still known as ours, and can be cleared again.
        for file in (*made, journal, settings):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"cannot clear {str(error.filename or path)!r}: {error.strerror or error}; remove it, or choose another {products.option}") from error


def _is_ours(path: Path) -> bool:
    """Whether a run of ours made this folder: it has our journal, or settings that name the version of this package."""
    if (path / "journal.jsonl").is_file():
        return True
    try:
        versions = _read_settings(path / "settings.yaml").get("versions")
    except BadInput:
        return False
    return isinstance(versions, dict) and "nas" in versions
