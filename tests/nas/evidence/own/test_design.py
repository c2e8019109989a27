"""The architectures of a design: balanced, scaled to their latency, and the same however many are asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from nas.devices.profile import load_device
from nas.evidence.own.design import BAND, TOLERANCE, apply_levels, build, designed_architectures
from nas.evidence.own.design_file import design_names, load_design
from nas.evidence.own.request import DEVICE
from nas.evidence.own.sampling import SampledArchitecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED
from tests.nas.evidence.own.test_design_file import plain, read
from workbench.errors import BadInput


def made(design: Any, count: int, px: int = 64) -> list[SampledArchitecture]:
    return designed_architectures(design, load_device(DEVICE), px, count, 10, lambda text: None)


def test_every_one_has_its_bands_latency_and_the_head_its_classes() -> None:
    device, bands = load_device(DEVICE), {"3ms": 3.0, "4ms": 4.0}
    found = made(read(plain()), 4)
    assert len({arch.architecture.digest() for arch in found}) == 4
    for arch in found:
        ms = device.latency_ms(lower(arch.architecture), 64)
        assert abs(ms / bands[arch.levels[BAND]] - 1) <= TOLERANCE and ms == pytest.approx(arch.costs["latency_ms"])
        assert arch.architecture.head is not None and arch.architecture.head.classes == 10
        assert arch.space == arch.levels["kind"] == arch.architecture.style and f"-{arch.space}-" in arch.name


def test_the_first_of_many_are_the_runs_of_few_and_levels_are_balanced() -> None:
    design = load_design("levels")
    many = made(design, 10)
    assert [arch.architecture for arch in made(design, 4)] == [arch.architecture for arch in many[:4]]
    for factor in ("channels", "neck_width", "neck_levels", "neck_depth", "neck_kind", BAND):
        counts = Counter(arch.levels[factor] for arch in many)
        assert max(counts.values()) <= 2.5 * min(counts.values()), factor


@pytest.mark.parametrize("name", design_names())
def test_every_combination_of_two_levels_of_a_shipped_design_can_be_built(name: str) -> None:
    design = load_design(name)
    assert design.base is not None and design.factors is not None
    first = {factor: next(iter(levels)) for factor, levels in design.factors.items()}
    for factor, levels in design.factors.items():
        for level in levels:
            for kind in design.factors[design.families]:
                shape = apply_levels(design, {**first, design.families: kind, factor: level})
                lower(build(shape, 1.0, design.channel_step, 10, "")).table(64)


def test_levels_set_and_multiply_what_they_name() -> None:
    design = read(plain())
    shape = apply_levels(design, {"kind": "mob", "width": "fine"})
    assert [stage["out"] for stage in shape["stages"]] == pytest.approx([24, 19.2, 12.8, 9.6])
    assert shape["style"] == "mob" and {stage["kind"] for stage in shape["stages"]} == {"k1dwk1"}
    assert apply_levels(design, {"kind": "res", "width": "even"}) == design.base
    arch = build(shape, 2.0, 4, 10, "")
    assert [stage.out for stage in arch.stages] == [48, 40, 24, 20] and arch.stem.out == 16
    assert [stage.btn for stage in arch.stages] == [24, 20, 12, 8]


def test_a_plain_convolution_stays_one_block_deep() -> None:
    data = plain()
    data["factors"]["kind"]["mob"]["set"]["stages.kind"] = ["conv", "k1dwk1", "k1dwk1", "k1dwk1"]
    data["factors"]["width"]["fine"] = {"set": {"stages.depth": 3}}
    arch = build(apply_levels(read(data), {"kind": "mob", "width": "fine"}), 1.0, 4, 10, "")
    assert [stage.depth for stage in arch.stages] == [1, 3, 3, 3]


def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(BadInput, match=r"has 0 architectures at \[0.1\] ms .* not 2 \(4 others cannot be scaled"):
        made(read(plain(bands_ms=[0.1])), 2)
    with pytest.raises(BadInput, match=r"stages.out: \[1, 2\] must be one value, or a list with one for each of"):
        made(read(plain(factors={"kind": {"a": {}, "b": {"set": {"stages.out": [1, 2]}}}}, families="kind")), 2)
    with pytest.raises(BadInput, match="combinations, more than 100,000"):
        made(read(plain(factors={f"f{i}": {"a": {}, "b": {}} for i in range(17)}, families="f0")), 2)


def test_listed_architectures_are_taken_as_they_are() -> None:
    names = ["damo-yolo-t", "damo-yolo-s"]
    design = read({"name": "list", "architectures": [dict(PUBLISHED[n].to_dict(), name=n) for n in names]})
    found = made(design, 2)
    assert [arch.name for arch in found] == names and found[0].space == "res" and not found[0].levels
    assert found[0].architecture.stages == PUBLISHED["damo-yolo-t"].stages
    assert found[0].architecture.head is not None and found[0].architecture.head.classes == 10
    with pytest.raises(BadInput, match="lists 2 architectures, not 3"):
        made(design, 3)


def test_a_listed_architecture_is_costed_at_its_own_input_side() -> None:
    plain_arch = PUBLISHED["damo-yolo-t"].to_dict()
    design = read({
        "name": "list", "architectures": [dict(plain_arch, name="here"), dict(plain_arch, name="own", input_px=128)],
    })  # fmt: skip
    here, own = made(design, 2)
    assert own.architecture.input_px == 128 and own.side(64) == 128 and here.side(64) == 64
    assert own.costs["flops"] == 4 * here.costs["flops"]
