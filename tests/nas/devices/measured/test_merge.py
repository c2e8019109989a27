"""Merging files of many hands, by the command too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.cli import main
from nas.devices.measured.exchange_file import read_exchange
from nas.devices.measured.merge import merge_files
from nas.devices.measured.selection import Selection
from tests.nas.devices.measured.test_exchange_file import net
from tests.nas.devices.measured.test_published import table
from tests.nas.devices.measured.test_read import row, write
from workbench.errors import BadInput


def two_hands(folder: Path) -> tuple[Path, Path]:
    """Eight networks by two sources, the second a tenth slower; the last row of it ten times."""
    nets = [net(8 * (i + 1), f"net{i}") for i in range(8)]
    first = write(folder / "a.jsonl", *(row(g, 1.0 + i, "unnamed") for i, g in enumerate(nets)), keep=tuple(nets))
    slower = [row(g, 1.1 * (1 + i) * (10 if i == 7 else 1), "b") for i, g in enumerate(nets)]
    return first, write(folder / "b.jsonl.gz", *slower, keep=tuple(nets[:2]))


def test_two_copies_are_one(tmp_path: Path) -> None:
    first, _ = two_hands(tmp_path)
    merged = merge_files([first, first], tmp_path / "c.jsonl")
    assert merged.read == 16 and merged.duplicates == 8 and len(merged.found.rows) == 8
    assert (tmp_path / "c.jsonl").read_bytes() == first.read_bytes()
    again = merge_files([tmp_path / "c.jsonl"], tmp_path / "d.jsonl.gz")
    assert again.duplicates == 0 and read_exchange(tmp_path / "d.jsonl.gz").rows == merged.found.rows


def test_sources_are_compared_and_a_row_that_is_off_is_named(tmp_path: Path) -> None:
    merged = merge_files(two_hands(tmp_path), tmp_path / "c.jsonl", source="a")
    (place,) = merged.places
    assert [level.source for level in place.levels] == ["a", "b"]
    assert place.levels[1].level == pytest.approx(1.1, abs=0.001) and place.ratios[0].networks == 8
    assert {o.name for o in place.outliers} == {"net7"}
    assert {r.source for r in read_exchange(tmp_path / "c.jsonl").rows} == {"a", "b"}
    assert len(read_exchange(tmp_path / "c.jsonl").graphs) == 8
    text = str(merged)
    assert "sources on the same networks" in text and "net7" in text and "deviations" in text


def test_a_name_for_two_networks_and_a_missing_graph_are_named(tmp_path: Path) -> None:
    one, other = net(8, "same"), net(16, "same")
    file = write(tmp_path / "a.jsonl", row(one, 1.0), row(other, 2.0), keep=(one,))
    merged = merge_files([file])
    assert [name for name, _ in merged.conflicts] == ["same"] and merged.out is None
    assert "stands for 2 networks" in str(merged) and "1 network without a graph" in str(merged)
    assert len(merged.to_dict()["without_graph"]) == 1


def test_published_tables_become_a_file(tmp_path: Path) -> None:
    facts = table(
        tmp_path,
        "Net One,net1,64,NVIDIA T4,TensorRT 8.4,FP16,1,1.5,inference only,lab/repo@1:x",
        "Net Two,net2,64,Phone,NCNN,,,3.5,as published,else/repo@1:x",
    )
    merge_files([facts], tmp_path / "c.jsonl", Selection("T4"))
    found = read_exchange(tmp_path / "c.jsonl")
    assert [r.source for r in found.rows] == ["lab"] and len(found.graphs) == 1


def test_what_cannot_be_merged_is_refused_first(tmp_path: Path) -> None:
    first, _ = two_hands(tmp_path)
    with pytest.raises(BadInput, match=r"must end in .jsonl"):
        merge_files([first], tmp_path / "c.csv")
    with pytest.raises(BadInput, match="--source must not be empty"):
        merge_files([first], source=" ")
    with pytest.raises(BadInput, match="none of 8 measurements is chosen"):
        merge_files([first], tmp_path / "c.jsonl", Selection("T4"))
    assert not (tmp_path / "c.jsonl").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(file) for file in two_hands(tmp_path)]
    assert main(["devices", "merge", *files, "--out", str(tmp_path / "c.jsonl"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measurements"] == 16 and found["networks"] == 8 and found["places"][0]["ratios"][0]["networks"] == 8
    assert main(["devices", "merge", *files, "--select", "source=b"]) == 0
    assert "8 measurements of 8 networks" in capsys.readouterr().out
    (tmp_path / "bad.jsonl").write_text('{"record": "measurement", "schema": 9}\n')
    assert main(["devices", "merge", str(tmp_path / "bad.jsonl")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("nas: bad.jsonl, line 1: schema 9 is not known") and err.count("\n") == 1
