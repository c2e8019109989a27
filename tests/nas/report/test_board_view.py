"""One entry a run, the finalists only when asked for, and what comes later."""

from __future__ import annotations

from pathlib import Path

from nas.report.board_view import link_runs, unique_names


def event(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "events.out.tfevents.1.host"
    file.write_bytes(b"x")
    return file


def entries(view: Path) -> set[str]:
    return {str(file.parent.relative_to(view)) for file in view.rglob("events.out.*")}


def a_search_and_a_training(runs: Path) -> None:
    event(runs / "search" / "events")
    (runs / "search" / "events" / "points.tsv").write_text("1\n")
    for place in range(1, 6):
        event(runs / "search" / "events" / "top" / str(place))
    event(runs / "train" / "events")


def test_one_entry_a_run(tmp_path: Path) -> None:
    a_search_and_a_training(tmp_path / "runs")
    view = tmp_path / "view"
    view.mkdir()
    assert link_runs([tmp_path / "runs"], view, finalists=False) == 2
    assert entries(view) == {"search", "train"}
    assert (view / "search" / "points.tsv").read_text() == "1\n", "the Projector's files are beside the events"
    event(tmp_path / "runs" / "later" / "events")
    assert link_runs([tmp_path / "runs"], view, finalists=False) == 3 and "later" in entries(view)


def test_finalists_are_added_when_asked_for(tmp_path: Path) -> None:
    a_search_and_a_training(tmp_path / "runs")
    view = tmp_path / "view"
    view.mkdir()
    link_runs([tmp_path / "runs" / "search"], view, finalists=True)
    assert entries(view) == {"search", *(f"search/top/{place}" for place in range(1, 6))}


def test_several_runs_of_one_name_stay_apart(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "same", tmp_path / "b" / "same"]
    for folder in folders:
        event(folder / "events")
    view = tmp_path / "view"
    view.mkdir()
    assert link_runs(folders, view, finalists=False) == 2 and entries(view) == {"same", "same-2"}
    assert unique_names(folders) == ["same", "same-2"]
