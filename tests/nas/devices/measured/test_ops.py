"""Tables of measured convolutions: what is read, and one line for what cannot be."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from nas.devices.measured.ops import read_ops
from workbench.errors import BadInput

HEADER = "type,batch,cin,h,w,cout,k,stride,fused_add,latency_ms\n"


def test_a_table_of_ops_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "ops.csv"
    file.write_text(
        HEADER + "Regular,2,16,10,10,32,3,2,1,0.5\nDepthwise,1,8,7,7,8,5,1,0,0.25\nRegular,1,8,9,9,8,1,1,0,-1\n"
    )
    ops = read_ops(file)
    assert ops.skipped == 1 and ops.ms.tolist() == [0.5, 0.25] and ops.batch.tolist() == [2, 1]
    assert ops.table.macs.tolist() == [16 * 32 * 9 * 2 * 25, 8 * 25 * 49]
    assert ops.table.in_elems.tolist() == [2 * 100 * 16 + 2 * 25 * 32, 49 * 8]
    assert ops.table.groups.tolist() == [1, 8]
    packed = tmp_path / "ops.csv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read_ops(packed).ms.tolist() == ops.ms.tolist()


BAD_OPS = [
    ("", "empty"),
    (HEADER, "no measured ops"),
    ("type,batch\n", "missing: cin"),
    (HEADER + "Strange,1,8,9,9,8,1,1,0,1\n", "line 2: type='Strange'"),
    (HEADER + "Regular,1,8,9,9,8,1,1,0,nan\n", "line 2"),
    (HEADER + "Regular,1,0,9,9,8,1,1,0,1\n", "line 2"),
    (HEADER + "Regular,1,8,9,9,8,1,1,2,1\n", "fused_add"),
    (HEADER + "Regular,1,8,9,9,8,1,1,0,-7\n", "latency_ms='-7'"),
    (HEADER + "Regular,1,8,9,9,8\n", "line 2"),
]


@pytest.mark.parametrize(("text", "message"), BAD_OPS)
def test_a_bad_table_of_ops_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "ops.csv").write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        read_ops(tmp_path / "ops.csv")
    assert "\n" not in str(caught.value)
