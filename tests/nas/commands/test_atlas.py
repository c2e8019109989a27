"""``nas atlas`` and its twin in Python."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import nas
from nas.cli import main
from nas.detectors.data import VARIABLE, data_of
from tests.nas.detectors.made import folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folder(tmp_path_factory.mktemp("data") / "mine"))


def test_list_with_picture_and_csv(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png, table = tmp_path / "a.png", tmp_path / "a.csv"
    words = ["atlas", "--data", data, "--family", "alpha", "--device", "board_fp32", "--plot", str(png)]
    assert main([*words, "--csv", str(table)]) == 0
    out = capsys.readouterr().out
    assert "3 entries, 2 networks, 1 family" in out and "--data DIR" in out and f"wrote {png}, {table}" in out
    assert png.read_bytes().startswith(b"\x89PNG") and table.read_text().count("\n") == 4


def test_show(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["atlas", "show", "alpha-s", "beta-s", "--data", data]) == 0
    out = capsys.readouterr().out
    assert "alpha-s  (Alpha" in out and "beta-s  (Beta" in out
    assert main(["atlas", "show", "alpha-s", "--data", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["networks"][0]["name"] == "alpha-s"
    result = nas.atlas("alpha-s", data=data, quiet=True)
    assert [row["AP"] for row in result.to_records()] == [32.0, 30.0]


def test_python_lists_the_same(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["atlas", "--data", data, "--recipe", "coco-only", "--sort", "params", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert nas.atlas(data=data, recipe="coco-only", sort="params", quiet=True).to_dict() == told
    assert [entry["name"] for entry in told["entries"]] == ["alpha-s", "alpha-l"]


def test_without_data_it_is_the_zoo_and_the_variable(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert data_of(()) == ("zoo",) and data_of(("x",)) == ("x",)
    monkeypatch.setenv(VARIABLE, f"{data}{os.pathsep}")
    assert data_of(()) == (data, "zoo")
    found = nas.atlas(family="alpha,yolox", quiet=True)
    assert {entry.data for entry in found.list.entries} == {data, "zoo"}, "the zoo is listed without a trace"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "nas atlas show needs the name of a network"),
        (["show", "gamma"], "the atlas has no network 'gamma'"),
        (["--data", "nowhere"], "'nowhere' is not a folder"),
        (["--plot", "a.jpg"], "--plot 'a.jpg' must end in .png"),
        (["--cost", "params"], "--cost params says what --plot draws"),
        (["--top", "0"], "--top 0 must be at least 1"),
        (["show", "alpha-s", "--device", "board_fp32"], "--device 'board_fp32' is no device profile"),
    ],
)
def test_mistakes_are_one_line(data: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = words if "--data" in words else [*words, "--data", data]
    assert main(["atlas", *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("nas: ") and message in error[0]
