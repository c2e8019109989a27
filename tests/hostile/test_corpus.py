"""Every hostile file is refused in one line, or read; nothing runs, escapes, grows or is written elsewhere.

The whole corpus is slow; a part of every class is not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.corpus import all_cases
from tests.hostile.runner import Case, Server, error_line

KINDS = (
    "coco", "contract", "csv", "files", "folders", "foreign", "graph", "images", "measurements", "onnx", "runs",
    "space", "tinynas", "voc", "weights", "words", "yaml", "yolo",
)  # fmt: skip
LEAST = 400
OF_EACH_KIND = 2


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Case]]:
    """All cases by class."""
    found: dict[str, list[Case]] = {}
    for case in all_cases(tmp_path_factory.mktemp("shared")):
        found.setdefault(case.kind, []).append(case)
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The process that runs the cases."""
    with Server() as running:
        yield running


def run(server: Server, chosen: list[Case], folder: Path) -> list[str]:
    """The faults of some cases."""
    found = []
    for number, case in enumerate(chosen):
        place = folder / str(number)
        found += [f"{case.name}: {fault}" for fault in server.faults(case, place)]
        shutil.rmtree(place)
    return found


def test_there_are_many_cases_of_every_class(cases: dict[str, list[Case]]) -> None:
    assert tuple(sorted(cases)) == KINDS
    names = [case.name for group in cases.values() for case in group]
    assert len(set(names)) == len(names) >= LEAST


def test_a_part_of_every_class(cases: dict[str, list[Case]], server: Server, tmp_path: Path) -> None:
    chosen = [case for group in cases.values() for case in group[5 :: len(group) // OF_EACH_KIND][:OF_EACH_KIND]]
    assert run(server, chosen, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_corpus(cases: dict[str, list[Case]], server: Server, tmp_path: Path, kind: str) -> None:
    assert run(server, cases[kind], tmp_path) == []


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("write", "strays"), ("connect", "strays"), ("escape", "raw escape on err"), ("traceback", "traceback"),
        ("payload", "a payload ran"), ("lines", "no single line"), ("memory", "took "), ("nothing", "no single line"),
    ],
)  # fmt: skip
def test_broken_promises_are_seen(server: Server, tmp_path: Path, how: str, fault: str) -> None:
    case = Case(f"misbehave/{how}", ("misbehave", how, str(tmp_path / "outside")))
    assert any(found.startswith(fault) for found in server.faults(case, tmp_path / "case"))


def test_a_late_case_is_ended(tmp_path: Path) -> None:
    with Server(seconds=20) as server:
        server.faults(Case("plain/help", ("--help",), codes=(0,)), tmp_path / "first")
        server.seconds = 0.5
        assert (
            server.faults(Case("misbehave/sleep", ("misbehave", "sleep", "x")), tmp_path / "case")[0]
            == "ran over 0.5 s"
        )


def test_an_error_is_one_line() -> None:
    assert error_line("nas: no such file\n") and error_line("usage: nas show X\n    more\nnas show: error: no\n")
    assert not error_line("") and not error_line("nas: a\nnas: b\n") and not error_line("warning: x\nnas: a\nlater\n")
    assert not error_line("nas: " + "x" * 5000)
