"""A study: the folder ``runs/NAME`` with settings, journal and results.

The journal is append-only JSON lines, each numbered and check-summed. After a crash the torn last line is
cut off and the search goes on from the last state it finds; damage anywhere else is refused, not guessed at.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from nas.files import write_atomic
from search_spaces.errors import BadInput

FORMAT = 1


class Study:
    """Owner of one run folder. Use ``open``; ``close`` releases its lock."""

    def __init__(self, folder: Path, settings: dict[str, Any], lock: IO[str]) -> None:
        self.folder, self.settings, self._lock = folder, settings, lock
        self.notes: list[str] = []
        self._latest: dict[str, dict[str, Any]] = {}
        self._count = 0
        self._replay()
        self._journal = (folder / "journal.jsonl").open("ab")

    @staticmethod
    def open(folder: str | Path, settings: Mapping[str, Any], versions: Mapping[str, str], fresh: bool = False) -> Study:
        """Create the folder, or go on with it when it was made with the same settings.

        ``versions`` are written down but may change between runs. ``fresh`` drops what an earlier run left.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / ".lock").open("w")
        except OSError as error:
            raise BadInput(f"cannot write run folder {str(path)!r}: {error.strerror or error}; choose another with --runs or --name") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise BadInput(f"run folder {str(path)!r} is in use by another search: wait for it, or choose another --name") from error
        try:
            return Study._open_locked(path, dict(settings), versions, fresh, lock)
        except BaseException:
            lock.close()
            raise

    @staticmethod
    def _open_locked(path: Path, settings: dict[str, Any], versions: Mapping[str, str], fresh: bool, lock: IO[str]) -> Study:
        file = path / "settings.yaml"
        if fresh:
            _clear(path)
        if file.exists():
            before = _read_settings(file)
            for key in sorted({*before, *settings} - {"versions"}):
                if before.get(key) != settings.get(key):
                    raise BadInput(
                        f"run folder {str(path)!r} was made with {key}={before.get(key)!r}, not {settings.get(key)!r}: "
                        "choose another --name, or --fresh to start over"
                    )
        else:
            write_atomic(file, yaml.safe_dump({**settings, "versions": dict(versions)}, sort_keys=False))
        return Study(path, settings, lock)

    def append(self, kind: str, data: dict[str, Any]) -> None:
        """Write one record and wait until it is on disk."""
        line = _line(self._count + 1, kind, data)
        self._journal.write(line.encode("utf-8"))
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._count += 1
        self._latest[kind] = data

    def latest(self, kind: str) -> dict[str, Any] | None:
        """The last record of a kind, or None."""
        return self._latest.get(kind)

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished search's result, or None while it is unfinished."""
        return self._latest.get("done")

    def close(self) -> None:
        """Release the folder."""
        self._journal.close()
        self._lock.close()

    def _replay(self) -> None:
        path = self.folder / "journal.jsonl"
        if not path.exists():
            return
        raw = path.read_bytes()
        good = 0
        for number, line in enumerate(raw.splitlines(keepends=True), start=1):
            problem = self._take(line, number)
            if problem:
                if good + len(line) < len(raw) or (line.endswith(b"\n") and problem != "is torn"):
                    raise BadInput(
                        f"journal {str(path)!r}, line {number} {problem}: the file was changed or damaged; "
                        "restore it, or start over with --fresh"
                    )
                self.notes.append(f"the last journal line ({number}) was torn by a crash and has been dropped")
                break
            good += len(line)
        if good < len(raw):
            with path.open("r+b") as file:
                file.truncate(good)

    def _take(self, line: bytes, number: int) -> str:
        """Accept one journal line, or say what is wrong with it."""
        if not line.endswith(b"\n"):
            return "is torn"
        try:
            record = json.loads(line)
            kind, data, checksum = record["kind"], record["data"], record["sum"]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            return "is not a journal record"
        if record.get("n") != number or _checksum(number, kind, data) != checksum:
            return "does not match its checksum"
        self._count = number
        self._latest[kind] = data
        return ""


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


def _clear(path: Path) -> None:
    """Drop the products of an earlier search, and nothing else that may lie in the folder."""
    for name in ("settings.yaml", "journal.jsonl", "front.csv", "front.png", "best.yaml", "best.png", "result.json"):
        (path / name).unlink(missing_ok=True)
    for name in ("top", "events"):
        shutil.rmtree(path / name, ignore_errors=True)
    for leftover in path.glob("optuna*"):
        leftover.unlink()
