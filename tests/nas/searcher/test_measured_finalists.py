"""Finalists measured here: a new order, savings on paper named, and a measurement that goes on after a kill."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from nas.budgets import parse_budgets
from nas.cli import main
from nas.devices.profile import load_device
from nas.devices.runtimes import Target, choose_target
from nas.devices.timing import Plan
from nas.searcher.api import search
from nas.searcher.finalists import NOT_FASTER, Finalist, Finalists, rank
from nas.searcher.measured_finalists import local_budget, measure_finalists
from nas.searcher.problem import SearchProblem, open_devices
from nas.searcher.result import SearchResult
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space
from workbench.errors import BadInput

ARCH = PUBLISHED["damo-yolo-ns"]
QUICK = Plan(seconds=0.15, rounds=3)


def one(
    name: str, score: float, gflops: float, ms: float, half: float = 0.01, over: float | None = None, place: int = 1
) -> Finalist:
    return Finalist(
        name, name, place, score, gflops * 1e9, ms, (ms * (1 - half), ms * (1 + half)), ms * 1.1, None, over, ARCH
    )


def order(*finalists: Finalist) -> list[str]:
    return [finalist.name for finalist in rank(finalists)]


def test_without_a_budget_here_the_score_decides_unless_one_is_beaten() -> None:
    assert order(one("a", 10, 5, 20.0), one("b", 9, 5, 15.0), one("c", 8, 5, 10.0)) == ["a", "b", "c"]
    # b is beaten by a, which scores more and is clearly faster.
    assert order(one("a", 10, 5, 20.0), one("b", 9, 5, 25.0), one("c", 8, 5, 10.0)) == ["a", "c", "b"]
    # Within the noise nothing changes.
    assert order(one("a", 10, 5, 20.0, 0.2), one("b", 9, 5, 25.0, 0.2), one("c", 8, 5, 10.0)) == ["a", "b", "c"]


def test_what_exceeds_the_budget_stands_behind_by_time() -> None:
    found = order(
        one("a", 10, 5, 30.0, over=5.0),
        one("b", 9, 5, 28.0, over=3.0),
        one("c", 8, 5, 24.0, over=-1.0),
        one("d", 7, 5, 23.0, over=-2.0),
    )
    assert found == ["c", "d", "b", "a"]


def test_a_saving_that_shows_in_no_time_is_labelled() -> None:
    large = one("large", 10, 10, 20.0)
    assert one("faster", 9, 8, 16.5).label([large]) == ""
    assert one("same", 9, 8, 20.1).label([large]) == f"{NOT_FASTER}: 20.0 % fewer FLOPs than large, takes as long"
    assert (
        one("slower", 9, 8, 24.0).label([large]) == f"{NOT_FASTER}: 20.0 % fewer FLOPs than large, takes 20.0 % longer"
    )
    assert one("more", 9, 12, 25.0).label([large]) == ""
    # 1 % of FLOPs could not have been seen with intervals of 1 %, nor 20 % with intervals of 15 %.
    assert one("hardly", 9, 9.9, 20.0).label([large]) == ""
    assert one("noisy", 9, 8, 20.0, 0.15).label([one("large", 10, 10, 20.0, 0.15)]) == ""
    # Against several, the largest is named.
    assert "fewer FLOPs than huge" in one("same", 9, 8, 20.1).label([large, one("huge", 11, 16, 20.0)])


def test_the_anchor_can_give_a_label_and_never_takes_a_place() -> None:
    anchor = one("damo-yolo-s", 8, 12, 18.0, place=0)
    found = Finalists("h", "r", 1, 64, None, (one("a", 10, 8, 20.0),), anchor, ("noisy",))
    data = found.to_dict()
    assert [row["name"] for row in data["finalists"]] == ["a"] and data["anchor"]["name"] == "damo-yolo-s"
    assert data["finalists"][0]["label"] == f"{NOT_FASTER}: 33.3 % fewer FLOPs than damo-yolo-s, takes 11.1 % longer"
    rows = list(csv.DictReader(found.to_csv().splitlines()))
    assert rows[0]["label"] == data["finalists"][0]["label"] and rows[0]["over_ms"] == "" and rows[0]["rank"] == "1"
    text = found.text()
    assert NOT_FASTER in text and "warning: noisy" in text


@pytest.fixture(scope="module")
def target() -> Target:
    pytest.importorskip("onnxruntime")
    return choose_target(threads=1)


@pytest.fixture
def result(tmp_path: Path) -> SearchResult:
    return search(
        "0.2GFLOPs", space="mob", input_px=64, steps=2000, strategy="random", runs=tmp_path, name="r", pictures=False
    )


def test_finalists_are_measured_written_and_read_again(result: SearchResult, target: Target) -> None:
    found = measure_finalists(result, 2, target, QUICK)
    assert [row["digest"] for row in sorted(found.to_dict()["finalists"], key=lambda row: row["searched"])] == [
        line["digest"] for line in result.front[:-3:-1]
    ]
    assert result.anchor is not None and found.anchor is not None and found.anchor.name == result.anchor.name
    for finalist in (*found.ranked, found.anchor):
        assert (
            finalist.interval_ms[0] < finalist.p50_ms < finalist.interval_ms[1]
            and finalist.over_ms is None
            and finalist.predicted_ms is None
        )
    written = (result.folder / "measured.json").read_text()
    assert json.loads(written) == json.loads(json.dumps(found.to_dict()))
    assert len((result.folder / "measured.csv").read_text().splitlines()) == 3
    again = measure_finalists(result, 2, target, QUICK, log=lambda text: pytest.fail(f"measured anew: {text}"))
    assert again == found


def test_a_killed_measurement_goes_on_after_its_last_round(result: SearchResult, target: Target) -> None:
    class Killed(Exception):
        pass

    def log(text: str) -> None:
        if text.startswith("round 3"):
            raise Killed

    with pytest.raises(Killed):
        measure_finalists(result, 2, target, QUICK, log)
    state = result.folder / "measuring.json"
    before = json.loads(state.read_text())["rounds"]
    assert [len(rounds) for rounds in before] == [2, 2, 2] and not (result.folder / "measured.json").exists()
    said: list[str] = []
    measure_finalists(result, 2, target, QUICK, said.append)
    after = json.loads(state.read_text())["rounds"]
    assert [rounds[:2] for rounds in after] == before and [len(rounds) for rounds in after] == [3, 3, 3]
    assert not [text for text in said if text.startswith(("round 1", "round 2"))]
    # Another question is another measurement; a damaged state is not believed.
    said.clear()
    state.write_text(state.read_text().replace('"rounds": [[[', '"rounds": [[[9', 1))
    measure_finalists(result, 2, target, QUICK, said.append)
    assert any(text.startswith("round 1") for text in said)
    state.write_text("{")
    with pytest.raises(BadInput, match="delete it to measure anew"):
        measure_finalists(result, 2, target, QUICK)


def problem(devices: list[str], *budgets: str) -> SearchProblem:
    space = load_space("res")
    return SearchProblem(space, "res", parse_budgets(budgets), open_devices(devices), tuple(devices), "maxent")


def test_the_budget_of_this_machine_is_found(tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_DEVICES", str(tmp_path))
    own = dataclasses.replace(
        load_device("t4"), name="mine", hardware=target.hardware(), runtime=target.describe(), precision="FP32"
    )
    (tmp_path / "mine.yaml").write_text(own.to_yaml())
    assert local_budget(problem(["t4"], "3ms"), target) == (None, None)
    assert local_budget(problem([], "3Mparams"), target) == (None, None)
    profile, high = local_budget(problem(["t4", "mine"], "t4:3ms", "mine:5ms"), target)
    assert profile is not None and profile.name == "mine" and high == 5.0
    assert local_budget(problem(["mine"], "2..4ms"), target)[1] == 4.0
    assert local_budget(problem(["mine"], "3Mparams"), target)[1] is None
    two = choose_target(threads=2)
    assert local_budget(problem(["mine"], "4ms"), two) == (None, None)


def test_the_command_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: Target
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [
        "search",
        "--budget",
        "0.2GFLOPs",
        "--space",
        "mob",
        "--input",
        "64",
        "--strategy",
        "random",
        "--steps",
        "2000",
        "--no-pictures",
        "--name",
        "r",
        "--quiet",
    ]
    assert main([*command, "--measure", "1", "--threads", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["measured"]["format"] == "nas-measured-1" and data["measured"]["threads"] == 1
    assert [row["rank"] for row in data["measured"]["finalists"]] == [1]
    assert main([*command, "--measure", "1", "--threads", "1"]) == 0
    assert "measured on" in capsys.readouterr().out
    assert main([*command, "--fresh"]) == 0
    assert not (tmp_path / "runs" / "r" / "measured.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--measure", "0"], "at least 1"),
        (["--runtime", "openvino"], "add --measure"),
        (["--threads", "2"], "add --measure"),
        (["--measure", "2", "--runtime", "tflite"], "unknown runtime"),
        (["--measure", "2", "--measure-on", "t4"], "cpu or cuda"),
    ],
)
def test_bad_input(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["search", "--budget", "3GFLOPs", *options]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
