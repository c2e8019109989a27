"""What a recovery says, from curves that are written by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from distill.study.recovery_result import RANDOM, TAUGHT, UNTAUGHT, RecoveryResult
from distill.study.subruns import SubRunResult


def trial(*aps: float) -> SubRunResult:
    return SubRunResult("recovery/x", {2 * at: ap for at, ap in enumerate(aps, start=1)}, 2 * len(aps), 10.0)


def result_of(**kinds: list[list[float]]) -> RecoveryResult:
    return RecoveryResult(
        Path("r"), {kind: {3 + i: trial(*curve) for i, curve in enumerate(curves)} for kind, curves in kinds.items()}
    )


RESULT = result_of(
    taught=[[0.3, 0.5, 0.6, 0.70], [0.3, 0.5, 0.6, 0.72]],
    untaught=[[0.2, 0.4, 0.5, 0.70], [0.2, 0.4, 0.5, 0.70]],
    random=[[0.0, 0.1, 0.2, 0.48], [0.0, 0.1, 0.2, 0.52]],
    small=[[0.5, 0.5, 0.6, 0.80], [0.5, 0.5, 0.6, 0.82]],
)


def test_differences_are_paired_by_seed_at_the_last_epoch() -> None:
    gains = RESULT.gains
    assert gains[UNTAUGHT].differences == pytest.approx((0.0, 0.02))
    assert gains[RANDOM].differences == pytest.approx((0.22, 0.20)) and gains["small"].mean == pytest.approx(-0.1)
    assert RESULT.ap == pytest.approx(0.71) and RESULT.seeds == [3, 4]
    assert RESULT.best == Path("r/recovery/x/best.safetensors")


def test_the_share_of_the_steps_is_that_of_the_mean_curve() -> None:
    assert RESULT.catches_up() == (4, 0.5)  # 0.5 at epoch 4 of 8; the other curve ends at 0.5
    assert RESULT.catches_up("small") is None and RESULT.catches_up("nothing") is None


def test_the_verdict_names_every_control_and_its_interval() -> None:
    verdict = RESULT.verdict()
    assert "AP 0.7100 (2 seeds)" in verdict and "not told from the untaught child (+0.0100" in verdict
    assert "ahead of the same architecture from random weights (+0.2100" in verdict
    assert "after 50 % of the steps" in verdict
    steady = result_of(taught=[[0.1], [0.2]], small=[[0.2], [0.3001]])
    assert "BEHIND small (-0.1000" in steady.verdict() and "random" not in steady.verdict()
    slow = result_of(taught=[[0.1], [0.2]], random=[[0.9], [0.9]])
    assert "never reaches the final AP from random weights" in slow.verdict()
    alone = result_of(taught=[[0.1, 0.3]])
    assert alone.verdict() == "taught by its parent the child has AP 0.3000 (1 seed)"
    assert "one seed has no interval" in str(result_of(taught=[[0.1, 0.3]], random=[[0.1, 0.2]]))


def test_table_csv_and_dict_say_the_same() -> None:
    header, rows = RESULT.to_table()
    assert len(rows) == 4 and all(len(row) == len(header) for row in rows)
    records = {record["start"]: record for record in RESULT.to_records()}
    assert records[TAUGHT]["taught ahead"] is None and records[RANDOM]["taught ahead"] == pytest.approx(0.21)
    assert records[RANDOM]["low"] < records[RANDOM]["AP"] < records[RANDOM]["high"]
    lines = list(csv.DictReader(io.StringIO(RESULT.to_csv())))
    assert len(lines) == 4 * 2 * 4 and sum(int(line["last"]) for line in lines) == 8
    last = {(line["kind"], int(line["seed"])): float(line["ap"]) for line in lines if line["last"] == "1"}
    told = json.loads(json.dumps(RESULT.to_dict(), allow_nan=False))
    assert last[TAUGHT, 4] == told["kinds"][TAUGHT]["runs"]["4"]["ap"] == 0.72
    assert told["taught_minus"]["small"]["mean"] == pytest.approx(-0.1)
    assert told["reaches_random"] == {"epoch": 4, "share": 0.5}
    assert told["kinds"][RANDOM]["curve"][-1] == [8, pytest.approx(0.5)]


def test_a_parent_that_knows_less_than_its_child_is_pointed_out() -> None:
    told = {ap: dataclasses.replace(RESULT, parent_ap=ap) for ap in (0.002, 0.9)}
    assert "AP 0.0020 on the validation images, less than the child" in str(told[0.002])
    assert told[0.002].to_dict()["notes"] == list(told[0.002].all_notes) and len(told[0.002].all_notes) == 1
    assert not told[0.9].all_notes and "the parent itself has AP 0.9000" in str(told[0.9])
    assert not RESULT.all_notes and "the parent itself" not in str(RESULT)


def test_earlier_rounds_count_as_steps_of_the_child() -> None:
    """Eight epochs in an earlier round, eight in the last; random weights train all sixteen."""
    later = dataclasses.replace(
        result_of(taught=[[0.3, 0.5, 0.6, 0.70]], untaught=[[0.2] * 4], random=[[0.0] * 4 + [0.1, 0.2, 0.3, 0.48]]),
        earlier_epochs=8,
    )
    assert list(later.curve(TAUGHT)) == [10, 12, 14, 16] and list(later.curve(RANDOM)) == [2, 4, 6, 8, 10, 12, 14, 16]
    assert later.catches_up() == (12, 0.75)
    assert later.at(TAUGHT, 12) == {3: 0.5} and later.at(RANDOM, 12) == {3: 0.2} and later.at(UNTAUGHT, 2) == {}
    assert "untaught in its last round" in later.verdict()
    rows = list(csv.DictReader(io.StringIO(later.to_csv())))
    assert {row["kind"]: int(row["epoch"]) for row in rows if row["last"] == "1"} == {kind: 16 for kind in later.runs}
