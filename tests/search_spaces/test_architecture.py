"""Architecture: rules, YAML round trips, digests, TinyNAS text."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces.architecture import Architecture, Stage
from search_spaces.lowering import count_layers
from search_spaces.published import PUBLISHED
from search_spaces.space_file import load_space, space_names
from search_spaces.tinynas_text import SPELLINGS, parse, parse_structure, to_structure, to_text
from tests.search_spaces.necks.cases import HEADS, NECKS, detector
from workbench.errors import BadInput

FIXTURE = Path(__file__).parents[1] / "data" / "tinynas_scores.json"


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Any architecture of any shipped space."""
    space = load_space(draw(st.sampled_from(space_names())))
    row = space.sample(1, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))[0]
    return space.decode(row)


@given(architectures())
def test_yaml_round_trip_and_digest(arch: Architecture) -> None:
    again = Architecture.from_yaml(arch.to_yaml())
    assert again == arch
    assert again.digest() == arch.digest()
    assert dataclasses.replace(arch, name="other").digest() == arch.digest()


@given(architectures())
def test_tinynas_text_round_trip(arch: Architecture) -> None:
    assume(arch.style != "mixed")  # which the text cannot say
    back = parse(to_text(arch))
    assert back.stages == arch.stages
    assert back.stem == arch.stem
    assert count_layers(back) == count_layers(arch)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_published_models_survive_both_spellings(name: str, spelling: str) -> None:
    arch = PUBLISHED[name]
    back = parse(to_text(arch, spelling), style=arch.style)
    assert (back.stages, back.stem, back.style) == (arch.stages, arch.stem, arch.style)


def test_every_official_structure_is_read() -> None:
    for item in json.loads(FIXTURE.read_text()):
        arch = parse_structure(item["structure"], where=item["name"])
        assert count_layers(arch) == item["layers"], item["name"]


def test_damo_spelling_uses_its_own_class_names() -> None:
    blocks = to_structure(PUBLISHED["damo-yolo-s"], "damo")
    assert blocks[0] == {"class": "ConvKXBNRELU", "in": 3, "out": 32, "s": 1, "k": 3}
    assert blocks[1]["class"] == "SuperResConvK1KX"
    assert blocks[1]["inner_class"] == "ResConvK1KX"
    assert to_structure(PUBLISHED["damo-yolo-s"])[0]["in"] == 12


def test_what_damo_cannot_say_is_refused() -> None:
    arch = PUBLISHED["damo-yolo-ns"]
    odd = dataclasses.replace(arch, stages=(dataclasses.replace(arch.stages[0], k=3), *arch.stages[1:]))
    with pytest.raises(BadInput, match="k=5"):
        to_text(odd, "damo")


@pytest.mark.parametrize(("neck", "strides", "head"), [("pan", (8, 16, 32), "zero"), ("repgfpn", (8, 16), "zero"),
                                                       ("repgfpn", (8, 16, 32), "plain")])  # fmt: skip
def test_damo_spelling_is_of_detectors_that_damo_yolo_can_build(
    neck: str, strides: tuple[int, ...], head: str
) -> None:
    arch = detector(NECKS[neck], strides, HEADS[head])
    with pytest.raises(BadInput, match=r"DAMO-YOLO has no (neck|head)"):
        to_text(arch, "damo")
    assert to_text(arch) == to_text(arch.backbone()) and to_text(arch.backbone(), "damo")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a list"),
        ("[1, 2]", "block 0"),
        ("__import__('os')", "not a list of dicts"),
        ("[{'class': 'SuperResK1KX', 'in': 3, 'out': 8, 'k': 3, 's': 1, 'L': 1, 'btn': 8}] * 2", "not a list"),
        (
            "[{'class':'ConvKXBNRELU','in':3,'out':8,'s':1,'k':3},"
            "{'class':'SuperResK1KX','in':8,'out':8,'k':3,'s':2,'L':1}]",
            "lacks the field 'btn'",
        ),
        (
            "[{'class':'ConvKXBNRELU','in':3,'out':8,'s':1,'k':3},"
            "{'class':'SuperResK1KX','in':9,'out':8,'k':3,'s':2,'L':1,'btn':8}]",
            "in=9",
        ),
        (
            "[{'class':'ConvKXBNRELU','in':3,'out':8,'s':1,'k':3},"
            "{'class':'SuperResK1KX','in':8,'out':8,'k':3,'s':2,'L':0,'btn':8}]",
            "L=0",
        ),
        (
            "[{'class':'ConvKXBNRELU','in':3,'out':8,'s':1,'k':3},"
            "{'class':'SuperResK1KX','in':8,'out':8,'k':4,'s':2,'L':1,'btn':8}]",
            "odd kernel",
        ),
        (
            "[{'class':'ConvKXBNRELU','in':3,'out':8,'s':1,'k':3},"
            "{'class':'SuperResK2','in':8,'out':8,'k':3,'s':2,'L':1,'btn':8}]",
            "SuperResK2",
        ),
        (
            "[{'class':'ConvKXBNRELU','in':3,'out':8,'s':1,'k':3},"
            "{'class':'SuperResK1KX','in':8,'out':8,'k':3,'s':2,'L':1,'btn':8,'depht':2}]",
            "depht",
        ),
        (
            "[{'class':'ConvKXBNRELU','in':4,'out':8,'s':1,'k':3},"
            "{'class':'SuperResK1KX','in':8,'out':8,'k':3,'s':2,'L':1,'btn':8}]",
            "in=4",
        ),
    ],
)  # fmt: skip
def test_wrong_text_is_named(text: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"style": "ress"}, "did you mean res"),
        ({"act": "mish"}, "activation"),
        ({"stages": []}, "non-empty"),
        ({"stem": {"out": 0}}, "at least 1"),
        ({"stem": {"out": 8, "size": 2}}, "size"),
        ({"neck": {"out": [1, 2]}}, "P3, P4 and P5"),
        ({"head": None}, "come together"),
        ({"format": "other"}, "format"),
        ({"extra": 1}, "extra"),
        ({"stages": [{"kind": "k1kx", "out": 8, "btn": 8, "stride": 3}]}, "stride"),
        ({"stages": [{"kind": "kxkx", "out": 8, "btn": 8}]}, "belongs to style"),
        ({"stages": [{"kind": "k1kx", "out": 8}]}, "'btn' is missing"),
        ({"stages": [{"kind": "k1kx", "out": 8, "btn": 8}]}, "no stage at stride"),
    ],
)
def test_wrong_yaml_is_named(change: dict[str, object], words: str) -> None:
    data = {**PUBLISHED["damo-yolo-s"].to_dict(), **change}
    with pytest.raises(BadInput) as caught:
        Architecture.from_dict(data)
    assert words in str(caught.value)


def test_taps_are_the_last_stages_of_each_stride() -> None:
    assert PUBLISHED["damo-yolo-t"].taps == (1, 3, 4)
    assert PUBLISHED["damo-yolo-t"].tap_channels == (96, 192, 384)


def test_stage_equality_is_by_value() -> None:
    assert Stage("k1kx", 8, 8) == Stage("k1kx", 8, 8)
