"""Words of other tools are answered with ours."""

from __future__ import annotations

import pytest

from nas.commands.other_words import hint, of_option


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("train yolox-s data=coco.yaml", "--data PATH"), ("train model=yolo.pt imgsz=640", "the first argument"),
        ("predict best.safetensors photos conf=0.4", "--score S"),
        ("export best.safetensors half=True", "--half of nas export"),
    ],
)  # fmt: skip
def test_a_word_has_a_hint(line: str, answer: str) -> None:
    assert answer in hint(line.split())


@pytest.mark.parametrize(
    "line", ["train yolox-s --data x --set mosaic=0.5", "search --set epochs=3", "train a=b --data x", "show data=x"]
)
def test_our_own_words_have_none(line: str) -> None:
    assert hint(line.split()) == ""


def test_options_are_translated() -> None:
    assert of_option("--imgsz") == "--input PX" and of_option("--conf-thres") == "--score S" and of_option("--no") == ""
