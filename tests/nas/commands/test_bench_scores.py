"""``nas bench-scores`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.cli import main
from tests.nas.evidence.trained import folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folder(tmp_path_factory.mktemp("trained")))


def test_the_table_ranks_scores(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "bench-scores",
                "--data",
                data,
                "--score",
                "flops",
                "params",
                "activations",
                "--draws",
                "30",
                "--bins",
                "6",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "144 points, 24 architectures of 2 families, accuracy voc_scratch_map50_95" in out
    assert "tau at equal latency" in out and "dear_depth" in out and "dear_width" in out and "Noise:" in out
    lines = [line.split()[0] for line in out.splitlines()[4:7]]
    assert sorted(lines) == ["activations", "flops", "params"]


def test_json_holds_every_figure(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "bench-scores",
        "--data",
        data,
        "--score",
        "flops",
        "--score",
        "activations",
        "--latency",
        "dear_d",
        "--px",
        "64",
        "96",
        "160",
        "--draws",
        "20",
        "--json",
        "--quiet",
    ]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert [score["score"] for score in found["scores"]] == ["flops", "activations"]
    assert found["devices"] == ["dear_depth"] and found["input_px"] == [64, 96, 160] and found["points"] == 72
    first = found["scores"][0]
    assert first["equal_latency"]["low"] <= first["equal_latency"]["value"] <= first["equal_latency"]["high"]
    assert first["lead_over_activations"]["low"] is not None and found["scores"][1]["lead_over_activations"] is None
    again = main(words), json.loads(capsys.readouterr().out)
    assert again == (0, found)


def test_pictures_and_verdicts_are_written(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    assert (
        main(
            [
                "bench-scores",
                "--data",
                data,
                "--score",
                "flops",
                "activations",
                "--draws",
                "20",
                "--out",
                str(out),
                "--quiet",
            ]
        )
        == 0
    )
    assert json.loads((out / "verdicts.json").read_text())["scores"][0]["score"] == "flops"
    for name in ("equal-latency.png", "picks.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_fitted_scores_with_a_family_left_out(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    assert (
        main(["bench-scores", "--data", data, "--score", "calibrated", "--refit", "--draws", "20", "--json", "--quiet"])
        == 0
    )
    assert [score["score"] for score in json.loads(capsys.readouterr().out)["scores"]] == [
        "calibrated",
        "calibrated, family left out",
    ]


def test_forward_scores_go_on_from_their_journal(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    words = [
        "bench-scores",
        "--data",
        data,
        "--score",
        "nwot",
        "--px",
        "64",
        "--bins",
        "2",
        "--draws",
        "20",
        "--out",
        str(tmp_path),
        "--json",
    ]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "24 of 24 forward-pass jobs" in first.err
    assert main(words) == 0
    second = capsys.readouterr()
    assert second.out == first.out and "forward-pass jobs" not in second.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "'nowhere' is not a folder"),
        (["--score", "flop"], "unknown score 'flop': did you mean flops"),
        (["--target", "coco"], "unknown target 'coco'"),
        (["--latency", "t4"], "unknown latency column 't4'"),
        (["--px", "100"], "has no point of these sizes"),
        (["--bins", "0"], "--bins 0 must be at least 1"),
        (["--jobs", "0", "--score", "nwot"], "--jobs 0 must be at least 1"),
        (["--draws", "-3"], "--draws -3 must be at least 1"),
    ],
)
def test_mistakes_are_one_line(data: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = words if "--data" in words else ["--data", data, *words]
    assert main(["bench-scores", *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("nas: ") and message in error[0]
