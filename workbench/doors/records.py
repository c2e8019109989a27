"""Records of run folders whose checksum holds and whose fields are of another version, or were made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import BadInput
from workbench.printable import shown

SCHEMA_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What code raises on fields that are missing or of another type."""


@contextmanager
def stored_record(place: str | Path, way_out: str = "start over with --fresh") -> Iterator[None]:
    """While a record of ``place`` is read or shown: what does not fit raises ``BadInput`` with the ``way_out``."""
    try:
        yield
    except SCHEMA_ERRORS as error:
        if isinstance(error, BadInput):
            raise
        reason = f"{type(error).__name__} {shown(str(error), 80)}"
        raise BadInput(f"{str(place)!r} holds a record of another form ({reason}): {way_out}") from error
