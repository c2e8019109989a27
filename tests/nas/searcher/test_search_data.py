"""``nas search --data`` as a user runs it: the boxes speak first, the search stays as it is, the folder resumes."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from nas.api.search import SearchOutcome, search
from nas.cli import main
from tests.distill.data import made
from tests.nas.process import nas
from tests.nas.shortlist.test_run import SPACE
from workbench.errors import BadInput

SEARCH = ["search", "--space", "little.yaml", "--device", "t4", "--budget", "5ms", "--input", "64", "--quiet"]
FIRST = "data, split train: 3 boxes in 3 images (1 empty)"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a space and data, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("little.yaml").write_text(SPACE)
    made.clean(Path("data"))
    return tmp_path


def test_the_boxes_come_first_and_the_search_is_the_same(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SEARCH, "--name", "plain"]) == 0
    plain = capsys.readouterr().out
    assert main([*SEARCH, "--name", "with", "--data", "data"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(FIRST) and out.count(FIRST) == 1 and " 64 *" in out and "note: 3 boxes are few" in out
    assert out.index("shared 8") < out.index("certificate: proved best") and "best.png, data.png, top/" in out
    assert plain.split("certificate")[0] in out, "the answer is printed as without data"
    for file in ("front.csv", "settings.yaml"):
        assert Path("runs/with", file).read_bytes() == Path("runs/plain", file).read_bytes()
    assert Path("runs/with/data.png").read_bytes()[:4] == b"\x89PNG" and not Path("runs/plain/data.png").exists()
    kept = json.loads(Path("runs/with/result.json").read_text())
    assert kept.pop("data")["boxes"] == 3
    assert set(kept) == set(json.loads(Path("runs/plain/result.json").read_text()))


def test_json_has_them_and_a_finished_run_takes_other_data(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [*SEARCH, "--name", "one", "--json"]
    assert main([*args, "--data", "data"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["data"]["format"], first["data"]["input_px"], first["data"]["boxes"]) == ("nas-box-levels-1", 64, 3)
    made.write_split(Path("other"), "train", made.coco([made.image(1, "a.png")], []))
    assert main([*args, "--data", "other"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["best"] == first["best"] and "finished already" in second["notes"][0]
    assert second["data"]["boxes"] == 0
    assert json.loads(Path("runs/one/result.json").read_text())["data"]["path"] == "other"
    assert main(args) == 0
    assert "data" not in json.loads(capsys.readouterr().out)
    assert main([*SEARCH, "--name", "one", "--fresh", "--no-pictures"]) == 0
    assert not Path("runs/one/data.png").exists(), "--fresh removes what the data left"
    assert "data" not in json.loads(Path("runs/one/result.json").read_text())


def test_data_without_boxes_say_so_and_the_search_goes_on(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.write_split(Path("empty"), "train", made.coco([made.image(1, "a.png")], []))
    assert main([*SEARCH, "--name", "e", "--data", "empty"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("empty, split train: no box in 1 image, so the data say nothing") and "certificate" in out
    assert not Path("runs/e/data.png").exists()


def test_killed_with_data_it_resumes_to_the_same(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sampled = [*SEARCH, "--strategy", "random", "--steps", "600000", "--data", "data", "--json"]
    process = nas(*sampled, "--name", "killed", cwd=home)
    journal, began = Path("runs/killed/journal.jsonl"), time.monotonic()
    while time.monotonic() - began < 60 and process.poll() is None and not (
        journal.exists() and journal.stat().st_size
    ):  # fmt: skip
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not Path("runs/killed/best.yaml").exists(), "it finished before it was killed"
    found = []
    for name in ("killed", "whole"):
        assert main([*sampled, "--name", name]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert any("resumed after" in note for note in found[0]["notes"])
    assert found[0]["front"] == found[1]["front"] and found[0]["data"] == found[1]["data"]
    assert Path("runs/killed/data.png").exists()


def test_in_python_the_result_has_them(home: Path) -> None:
    said = []
    result = search(
        "5ms", "t4", space="little.yaml", input_px=64, name="py", data="data", on_data=said.append, pictures=False,
        quiet=True,
    )  # fmt: skip
    assert isinstance(result, SearchOutcome) and said == [result.data] and str(result).startswith(FIRST)
    assert result.to_dict()["data"] == result.data.to_dict() and not (result.folder / "data.png").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--data", "nowhere"], "no such file or folder"),
        (["--data", "data/images"], "no data set that can be read"),
        (["--data", "data/annotations/val.json", "--val", "data"], "--val says how the shortlist is trained"),
        (["--data", "broken"], "nas data doctor broken lists all"),
    ],
)
def test_bad_data_are_one_line_before_the_search(
    args: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = made.coco([made.image(1, "a.png")], [made.annotation(1, 1, 77, 1, 1, 5, 5)])
    made.write_split(Path("broken"), "train", outside)
    assert main([*SEARCH, *args, "--name", "bad"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nas: ") and words in err and len(err.strip().splitlines()) == 1
    assert not Path("runs/bad").exists()


def test_a_lost_result_is_named(home: Path) -> None:
    search("5ms", "t4", space="little.yaml", input_px=64, name="lost", pictures=False, quiet=True)
    Path("runs/lost/result.json").unlink()
    with pytest.raises(BadInput, match=r"cannot read .*result\.json.*--fresh"):
        search("5ms", "t4", space="little.yaml", input_px=64, name="lost", data="data", pictures=False, quiet=True)
