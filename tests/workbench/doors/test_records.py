"""A record of another form is one line; errors of the user pass."""

from __future__ import annotations

import pytest

from workbench.doors.records import stored_record
from workbench.errors import BadInput


@pytest.mark.parametrize(
    "error", [KeyError("best"), TypeError("x\x1b"), IndexError(), OverflowError("big"), ValueError("v")]
)
def test_what_does_not_fit_names_the_file_and_the_way_out(error: Exception) -> None:
    rule = r"'runs/x/journal.jsonl' holds a record of another form .*start over"
    with pytest.raises(BadInput, match=rule) as caught, stored_record("runs/x/journal.jsonl"):
        raise error
    assert str(caught.value).isprintable()


def test_other_errors_pass() -> None:
    for error in (BadInput("mine"), KeyboardInterrupt(), OSError("disk")):
        with pytest.raises(type(error)) as caught, stored_record("x"):
            raise error
        assert caught.value is error
