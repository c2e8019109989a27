"""What may vary: words and files become ranges, and what training would refuse is refused before."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2")
from distill.train.recipe import load_recipe, parse_changes
from nas.tuning.ranges import Range, read_ranges, to_changes
from workbench.errors import BadInput

SMALL = load_recipe("small")


def ranges(*words: str, file: str | None = None, has_teacher: bool = False) -> tuple[Range, ...]:
    return read_ranges(words, file, SMALL, has_teacher)


def test_words_become_ranges() -> None:
    varied_ranges = ranges(
        "lr=log:1e-4..1e-2",
        "accumulate=1..4",
        "batch=8,16",
        "clip_norm=none,10",
        "freeze_backbone_bn=true,false",
        "augmentation=light,yolo",
    )
    assert varied_ranges == (
        Range("lr", 1e-4, 1e-2, log=True),
        Range("accumulate", 1, 4),
        Range("batch", choices=(8, 16)),
        Range("clip_norm", choices=(None, 10.0)),
        Range("freeze_backbone_bn", choices=(True, False)),
        Range("augmentation", choices=("light", "yolo")),
    )
    assert isinstance(varied_ranges[1].low, int)
    assert read_ranges([varied.text() for varied in varied_ranges], None, SMALL, False) == varied_ranges


def test_a_file_says_the_same_and_words_add_to_it(tmp_path: Path) -> None:
    file = tmp_path / "ranges.yaml"
    file.write_text("lr: log:1e-4..1e-2\nbatch: [8, 16]\n")
    assert ranges("warmup_epochs=0..3", file=str(file)) == ranges(
        "lr=log:1e-4..1e-2", "batch=8,16", "warmup_epochs=0..3"
    )
    file.write_text("- lr\n")
    with pytest.raises(BadInput, match="must be a mapping"):
        ranges(file=str(file))
    with pytest.raises(BadInput, match="cannot read"):
        ranges(file=str(tmp_path / "none.yaml"))


def test_the_default_is_a_factor_of_ten_both_ways() -> None:
    rate, decay = ranges()
    assert (rate.name, rate.low, rate.high, rate.log) == (
        "lr",
        pytest.approx(SMALL.lr / 10),
        pytest.approx(SMALL.lr * 10),
        True,
    )
    assert decay.name == "weight_decay" and decay.high <= 1.0


def test_share_belongs_to_a_teacher() -> None:
    assert ranges("share=0.1..0.5", has_teacher=True) == (Range("share", 0.1, 0.5),)
    with pytest.raises(BadInput, match="add --teacher"):
        ranges("share=0.1..0.5")
    with pytest.raises(BadInput, match="between 0 and 1"):
        ranges("share=0..0.5", has_teacher=True)


def test_values_pass_through_set_unchanged() -> None:
    values = {
        "lr": 0.1 + 0.2,
        "batch": 8,
        "clip_norm": None,
        "freeze_backbone_bn": True,
        "augmentation": "yolo",
        "ema_updates": 1e-05,
        "share": 0.3,
    }
    assert parse_changes(list(to_changes(values))) == {name: value for name, value in values.items() if name != "share"}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("lr", "must be KEY=RANGE"),
        ("lrr=1..2", "did you mean lr"),
        ("lr=0.1", "leaves no choice"),
        ("lr=0.2..0.1", "must be below"),
        ("lr=log:0..0.1", "begins above 0"),
        ("lr=log:0.1", "stands before a range"),
        ("lr=a..b", "must be a number"),
        ("lr=0.1..nan", "must be finite"),
        ("lr=0.001..100", "lr 100"),
        ("batch=8..16.5", "must be a whole number"),
        ("batch=0..8", "batch 0"),
        ("optimizer=sgd..adamw", "has no order"),
        ("optimizer=sgd,adam", "did you mean"),
        ("augmentation=light,heavy", "unknown augmentation preset"),
        ("freeze_backbone_bn=yes,no", "must be true or false"),
        ("epochs=10,20", "cannot be compared"),
        ("name=a,b", "no setting of training"),
    ],
)
def test_wrong_ranges_are_named(word: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        ranges(word)


def test_a_setting_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="given twice"):
        ranges("batch=8,16", "batch=4,8")
