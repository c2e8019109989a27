"""A run folder ``runs/NAME``: settings, journal and products of a search or a training.

The journal is append-only JSON lines, each with a number and a checksum. After a crash a truncated last line is
removed and the run resumes from the last state; damage anywhere else is an error.
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

from workbench.doors.yaml import read_yaml, yaml_text
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.locks import lock_folder, take_lock

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The products of a kind of run, besides settings and journal; ``fresh`` removes them."""

    made_by: str
    """``search`` or ``training``."""
    files: tuple[str, ...]
    """Names, or patterns with ``*``."""
    folders: tuple[str, ...]
    option: str = "--name"
    """The option that chooses another folder, for errors."""
    place: str = "--runs or --name"
    """The options that put it elsewhere, for errors."""


class RunFolder:
    """One locked run folder. Use ``open``; ``close`` releases the lock."""

    def __init__(self, folder: Path, settings: dict[str, Any], lock: IO[str], products: RunFiles, new: bool) -> None:
        self.folder, self.settings, self._lock, self._products = folder, settings, lock, products
        self.notes: list[str] = []
        self.new = new
        """Whether the folder did not exist before."""
        self._latest: dict[str, dict[str, Any]] = {}
        self._count = self._size = 0
        self._path = folder / "journal.jsonl"
        try:
            # Unbuffered, so that after a failed write nothing in memory can reach the file later.
            self._journal = self._path.open("ab", buffering=0)
        except OSError as error:
            raise self._failed("open", error) from error
        try:
            # The lock file may have been deleted; whoever writes this journal has it locked too.
            take_lock(self._journal, folder, "run folder", products.option, products.place)
            self._replay()
        except BaseException:
            self._journal.close()
            raise

    @staticmethod
    def open(
        folder: str | Path, settings: Mapping[str, Any], versions: Mapping[str, str], products: RunFiles,
        fresh: bool = False,
    ) -> RunFolder:  # fmt: skip
        """Create the folder, or resume it if it was made with the same settings.

        ``versions`` are recorded but may change between runs. ``fresh`` removes the ``products`` of an earlier run.
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
        path: Path, settings: dict[str, Any], versions: Mapping[str, str], products: RunFiles, fresh: bool,
        lock: IO[str], new: bool,
    ) -> RunFolder:  # fmt: skip
        file = path / "settings.yaml"
        # As they are read back from the file, where a tuple is a list.
        settings = yaml.safe_load(yaml_text(settings, sort_keys=True))
        if fresh:
            if (path / "journal.jsonl").is_file():
                with (path / "journal.jsonl").open("ab") as written:
                    take_lock(written, path, "run folder", products.option, products.place)
            _clear(path, products)
        if file.exists():
            before = _read_settings(file)
            for key in sorted({*before, *settings} - {"versions"}, key=str):
                if before.get(key) != settings.get(key):
                    different = _difference(key, before.get(key), settings.get(key))
                    raise BadInput(
                        f"run folder {str(path)!r} was made with {different}: "
                        f"choose another {products.option}, or --fresh to start over"
                    )
        else:
            journal = path / "journal.jsonl"
            if journal.is_file() and journal.stat().st_size:
                raise BadInput(
                    f"run folder {str(path)!r} has a journal but no settings.yaml, so what it was for is unknown: "
                    f"restore that file, choose another {products.option}, or --fresh to start over"
                )
            write_atomic(file, yaml_text({**settings, "versions": dict(versions)}))
        return RunFolder(path, settings, lock, products, new)

    def append(self, kind: str, data: dict[str, Any]) -> None:
        """Write one record and sync it to disk. After a failure the journal still ends with the record before."""
        line = _line(self._count + 1, kind, data).encode("utf-8")
        try:
            # Removes what an earlier, failed write may have left.
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
        """Remove the folder of a failed run, if it is new and its journal is empty."""
        if self.new and not self._count:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _failed(self, action: str, error: OSError) -> BadInput:
        reason = f"{error.strerror or error}; choose another {self._products.option}"
        return BadInput(f"cannot {action} journal {str(self._path)!r}: {reason}")

    def _replay(self) -> None:
        """Read the journal, keeping the last record of each kind; remove a truncated last line."""
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        self.notes.append(f"the last journal line ({number}) was torn by a crash and has been dropped")
                        self._journal.truncate(self._size)
                        return
                    self._accept(line, number)
        except OSError as error:
            raise self._failed("read", error) from error

    def _accept(self, line: bytes, number: int) -> None:
        """Read one whole journal line, or refuse the journal."""
        kind, data = _record(line, number, self._path)
        self._count = number
        self._size += len(line)
        self._latest[kind] = data


def _difference(key: str, before: Any, now: Any) -> str:
    """``seed=0, not 1``; of two tables the values that differ alone: ``epochs=5, not 9, of recipe``."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return f"{key}={before!r}, not {now!r}"
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return " and ".join(f"{name}={before.get(name)!r}, not {now.get(name)!r}" for name in names) + f", of {key}"


class RunFolderReader:
    """The run folder in a process that leaves writing to another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, kind: str, data: dict[str, Any]) -> None:
        """Do nothing: the other process writes the record."""

    def close(self) -> None:
        """Do nothing: no lock is held."""


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run's folder, which is not locked."""
    return _read_settings(folder / "settings.yaml")


def read_journal(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Kind and data of every record in a run folder's journal, which is not locked; a torn last line is left out."""
    path = folder / "journal.jsonl"
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise BadInput(f"cannot read journal {str(path)!r}: {error.strerror or error}") from error
    whole = [line for line in lines if line.endswith(b"\n")]
    return [_record(line, number, path) for number, line in enumerate(whole, start=1)]


def _record(line: bytes, number: int, path: Path) -> tuple[str, dict[str, Any]]:
    """Kind and data of one whole journal line, or refuse the journal."""
    problem, kind, data = "", "", {}
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
            f"journal {str(path)!r}, line {number} {problem}: the file was changed or damaged; "
            "restore it, or start over with --fresh"
        )
    return kind, data


def _refuse_constant(name: str) -> float:
    """JSON has no NaN or Infinity, and the journal never writes them."""
    raise ValueError(f"{name} in a journal")


def _line(number: int, kind: str, data: dict[str, Any]) -> str:
    record = {"n": number, "kind": kind, "sum": _checksum(number, kind, data), "data": data}
    return json.dumps(record, allow_nan=False) + "\n"


def _checksum(number: int, kind: str, data: Any) -> str:
    text = json.dumps([number, kind, data], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        data = read_yaml(file, "settings")
    except BadInput as error:
        raise BadInput(f"{error}; start over with --fresh") from error
    if not isinstance(data, dict):
        raise BadInput(f"{str(file)!r} holds no settings: start over with --fresh")
    return data


def _clear(path: Path, products: RunFiles) -> None:
    """Remove the products of an earlier run, and nothing else that may be in the folder."""
    settings, journal = path / "settings.yaml", path / "journal.jsonl"
    made = [file for pattern in products.files for file in sorted(path.glob(pattern))]
    folders = [path / name for name in products.folders]
    present = [item.name for item in (settings, journal, *made, *folders) if item.exists()]
    if present and not _is_run_folder(path):
        raise BadInput(
            f"run folder {str(path)!r} holds {present[0]!r}, but no {products.made_by} made this folder, "
            f"so --fresh leaves it alone: choose another {products.option}"
        )
    try:
        for folder in folders:
            if folder.exists():
                shutil.rmtree(folder)
        # The settings go last, so that a partly cleared folder is still recognized and can be cleared again.
        for file in (*made, journal, settings):
            file.unlink(missing_ok=True)
    except OSError as error:
        reason = f"{error.strerror or error}; remove it, or choose another {products.option}"
        raise BadInput(f"cannot clear {str(error.filename or path)!r}: {reason}") from error


def _is_run_folder(path: Path) -> bool:
    """Whether a run made this folder: it has a journal, or settings that record the version of this package."""
    if (path / "journal.jsonl").is_file():
        return True
    try:
        versions = _read_settings(path / "settings.yaml").get("versions")
    except BadInput:
        return False
    return isinstance(versions, dict) and "nas" in versions
