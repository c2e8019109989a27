"""Design files: what they say, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.evidence.own.design_file import design_names, load_design, read_design
from workbench.doors.yaml import yaml_text
from workbench.errors import BadInput

SHIPPED = Path(__file__).parents[4] / "nas" / "evidence" / "own" / "designs"


def plain(**changes: Any) -> dict[str, Any]:
    """A small design of factors as plain data."""
    stage = {"kind": "k1kx", "out": 16, "btn_ratio": 0.5, "stride": 2}
    base = {
        "style": "res",
        "stem": {"out": 8, "focus": False},
        "stages": [dict(stage) for _ in range(4)],
        "neck": {"out": [16, 24, 32], "depth": 0.34},
        "head": {"reg_max": 7},
    }
    factors = {
        "kind": {"res": {}, "mob": {"set": {"style": "mob", "stages.kind": "k1dwk1"}}},
        "width": {"even": {}, "fine": {"times": {"stages.out": [1.5, 1.2, 0.8, 0.6]}}},
    }
    whole = {"name": "small", "channels": 4, "bands_ms": [3, 4], "families": "kind", "base": base, "factors": factors}
    return {**whole, **changes}


def read(data: dict[str, Any]) -> Any:
    return read_design(yaml_text(data), "own.yaml")


@pytest.mark.parametrize("name", design_names())
def test_shipped_designs_are_read_by_name_and_by_path(name: str) -> None:
    assert load_design(name) == load_design(str(SHIPPED / f"{name}.yaml"))


def test_the_example_of_the_page_is_read() -> None:
    page = (SHIPPED.parents[3] / "docs" / "benchmarks" / "own-truth.md").read_text(encoding="utf-8")
    design = read_design(page.partition("```yaml\n")[2].partition("```")[0], "page")
    assert design.name == "kernels" and list(design.factors or {}) == ["kind", "kernel", "channels"]


def test_factors_and_levels_keep_their_order_and_the_digest_is_of_the_content() -> None:
    design = read(plain())
    assert {factor: list(levels) for factor, levels in design.factors.items()} == {
        "kind": ["res", "mob"],
        "width": ["even", "fine"],
    }
    assert design.factors["width"]["fine"].times == {"stages.out": [1.5, 1.2, 0.8, 0.6]} and design.count == 48
    assert read(plain(doc="other words", count=9)).digest == design.digest != read(plain(channels=8)).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": [2]}, "unknown field in own.yaml 'bands': did you mean bands_ms"),
        ({"bands_ms": []}, "bands_ms must list latencies"),
        ({"bands_ms": [-1]}, "bands_ms -1: must be a number above 0"),
        ({"scales": [2, 1]}, "scales [2, 1]: the first must be less than the second"),
        ({"scales": 2}, "scales must be a pair"),
        ({"families": "kinds"}, "unknown factor under 'families' in own.yaml 'kinds': did you mean kind"),
        ({"count": 1}, "count 1: must be a whole number from 2 on"),
        ({"factors": {"kind": {"res": {}}}}, "factor 'kind' must have two or more named levels"),
        ({"factors": {"kind": {"a": {}, "b": {"add": 1}}}}, "must be a mapping with 'set', 'times', both or nothing"),
        ({"factors": {"kind": {"a": {}, "b": {"set": {"stage.out": 1}}}}}, "'stage.out': did you mean stages.out"),
        ({"factors": {"kind": {"a": {}, "b": {"times": {"stages.out": 0}}}}}, "times stages.out 0: must be a number"),
        (
            {"factors": {f: {"a": {}, "b": {"set": {"stages.k": 5}}} for f in ("kind", "kernel")}},
            "stages.k is set by the factors 'kind' and 'kernel'",
        ),
        ({"base": {"style": "res"}}, "base lacks 'head'"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        read(plain(**changes))
    assert message in str(error.value) and "own.yaml" in str(error.value)


def test_what_no_reader_can_read(tmp_path: Path) -> None:
    for text, message in (("[1", "not YAML"), ("- 1", "must be a mapping"), ("name: x", "is missing")):
        with pytest.raises(BadInput, match=message):
            read_design(text, "own.yaml")
    with pytest.raises(BadInput, match="cannot read design"):
        load_design(str(tmp_path / "none.yaml"))
    with pytest.raises(BadInput, match="unknown design 'level': did you mean levels"):
        load_design("level")


def test_listed_architectures_need_names_of_their_own() -> None:
    from search_spaces.published import PUBLISHED

    two = [dict(PUBLISHED[name].to_dict(), name=name) for name in ("damo-yolo-t", "damo-yolo-s")]
    assert [arch.name for arch in read({"name": "list", "architectures": two}).architectures] == [
        "damo-yolo-t",
        "damo-yolo-s",
    ]
    with pytest.raises(BadInput, match="needs a name of its own, not 'damo-yolo-t'"):
        read({"name": "list", "architectures": [two[0], two[0]]})
    with pytest.raises(BadInput, match="two or more"):
        read({"name": "list", "architectures": two[:1]})
