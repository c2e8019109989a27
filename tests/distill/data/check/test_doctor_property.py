"""Any annotations: the doctor survives them, its errors are what the reader refuses, and the repaired copy opens."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")
pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.check.doctor import examine
from distill.data.check.repair import repair
from distill.data.formats.readers import open_data
from tests.distill.data import made
from tests.distill.data.formats.test_readers import check_shapes
from workbench.errors import BadInput

SEEN_IN_IMAGES = {"unreadable", "bomb", "wrong-size", "turned", "leak", "classes-differ"}
"""Errors that the doctor sees and the reader does not: it opens no image, and no second split."""

odd = st.sampled_from(
    [None, True, -1, 0, 2**60, 2**70, 1e308, float("nan"), float("-inf"), "", "1", "../a.png", "a\0b", [], {}, [[1]]]
)
number = st.one_of(st.floats(-20, 90), st.integers(-5, 70), st.floats(0, 1), odd)
box = st.one_of(
    st.lists(number, min_size=4, max_size=4),
    st.lists(st.integers(1, 40), min_size=4, max_size=4),
    st.lists(number, max_size=5),
    odd,
)
identity = st.one_of(st.integers(0, 4), odd)
image = st.one_of(
    st.fixed_dictionaries(
        {
            "id": identity,
            "file_name": st.one_of(
                st.sampled_from(["a.png", "b.png", "broken.png", "none.png", "../train/b.png", "/etc/passwd"]), odd
            ),
        },
        optional={"width": st.one_of(st.sampled_from([64, 32, 48]), odd), "height": st.one_of(st.just(48), odd)},
    ),
    odd,
)
annotation = st.one_of(
    st.fixed_dictionaries(
        {"image_id": st.integers(0, 4), "category_id": st.integers(0, 3), "bbox": box},
        optional={"id": identity, "area": number, "iscrowd": st.one_of(st.integers(0, 1), odd), "segmentation": odd},
    ),
    odd,
)
category = st.one_of(
    st.fixed_dictionaries(
        {"id": st.integers(0, 3), "name": st.sampled_from(["x", "y", "z"])},
        optional={"supercategory": st.sampled_from(["x", "none"])},
    ),
    odd,
)


@settings(max_examples=120)
@given(
    st.lists(image, max_size=5),
    st.lists(annotation, max_size=12),
    st.lists(category, max_size=4),
    st.lists(st.fixed_dictionaries({"id": st.integers(0, 3), "name": st.sampled_from(["x", "y"])}), max_size=2),
)
def test_any_annotations(images: list[Any], annotations: list[Any], cats: list[Any], other: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        pictures = root / "images" / "train"
        pictures.mkdir(parents=True)
        for n, name in enumerate(("a.png", "b.png")):
            made.picture(n).save(pictures / name)
        (pictures / "broken.png").write_bytes(b"no image")
        made.write_split(
            root,
            "val",
            made.coco(
                [made.image(1, "v.png")], [made.annotation(1, 1, 1, 5, 5, 9, 9)], other or [{"id": 1, "name": "x"}]
            ),
        )
        (root / "annotations" / "train.json").write_text(json.dumps(made.coco(images, annotations, cats)))
        try:
            report = examine(root)
        except BadInput as error:
            assert "no category is defined" in str(error)
            with pytest.raises(BadInput):
                open_data(root)
            return
        json.dumps(report.to_dict(), allow_nan=False)
        errors = {
            one.code for one in report.findings if one.rule.severity == "error" and one.split == "train"
        } - SEEN_IN_IMAGES
        try:
            check_shapes(open_data(root))
        except BadInput:
            assert errors or "unreadable" in {one.code for one in report.findings}
        else:
            assert not errors
        out = Path(folder) / "out"
        repair(report, out)
        after = examine(out)
        assert not [one for one in after.findings if one.rule.severity == "error"]
        check_shapes(open_data(out, "val"))
