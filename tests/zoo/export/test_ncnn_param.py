"""The text of an NCNN network: read, written, and its slices of each second pixel replaced."""

from __future__ import annotations

from zoo.export.ncnn_param import NcnnLayer, fold_pixels, parse, to_text, with_blob_names, with_module_names

FOCUS = """7767517
8 12
Input        in0   0 1 in0
Split        split 1 4 in0 1 2 3 4
Tensor.slice a     1 1 4 5
Tensor.slice b     1 1 3 6
Tensor.slice c     1 1 2 7
Tensor.slice d     1 1 1 8
Concat       cat   4 1 5 6 7 8 9 0=0
Convolution  conv  1 1 9 out0 0=16 1=3 6=1728
"""
STARTS = {"a": (0, 0), "b": (1, 0), "c": (0, 1), "d": (1, 1)}


def test_read_and_written() -> None:
    layers = parse(FOCUS)
    assert len(layers) == 8 and parse(to_text(layers)) == layers
    assert to_text(layers).splitlines()[:2] == ["7767517", "8 11"]
    conv = layers[-1]
    assert conv == NcnnLayer("Convolution", "conv", ("9",), ("out0",), ("0=16", "1=3", "6=1728"))
    assert (conv.parameter(6), conv.parameter(9), conv.parameter(9, 7)) == (1728, 0, 7)
    assert [layer.is_known for layer in layers] == [True, True, False, False, False, False, True, True]


def test_four_corners_become_a_reorg_in_the_order_of_the_concat() -> None:
    folded = fold_pixels(parse(FOCUS), STARTS)
    assert [layer.kind for layer in folded] == ["Input", "Split", "Reorg", "Slice", "Concat", "Convolution"]
    split, reorg, parts, concat = folded[1:5]
    assert split.outputs == reorg.inputs == ("4",) and reorg.parameters == ("0=2", "1=1")
    # Reorg puts row 0 column 1 before row 1 column 0; the concat has them the other way round.
    assert parts.outputs == ("5", "7", "6", "8") and concat.inputs == ("5", "6", "7", "8")


def test_other_slices_stay() -> None:
    layers = parse(FOCUS)
    assert fold_pixels(layers, {}) == layers
    assert fold_pixels(layers, {**STARTS, "d": (0, 0)}) == layers


def test_names() -> None:
    layers = with_blob_names(parse(FOCUS), {"in0": "image", "out0": "boxes"})
    assert layers[0].outputs == layers[1].inputs == ("image",) and layers[-1].outputs == ("boxes",)
    assert with_module_names(layers, ["stem.conv"])[-1].name == "stem.conv"
    assert with_module_names(layers, ["stem.conv", "another"]) == layers
