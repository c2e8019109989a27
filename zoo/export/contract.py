"""The contract of an exported file: a JSON beside it that says all that a program needs to run it.

It holds what the metadata inside holds (``zoo.export.metadata``), as plain JSON, and the format, the gap to torch, and
the size and SHA-256 of every file that belongs to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.doors.json import read_json
from workbench.errors import BadInput
from workbench.files import file_sha256, write_atomic
from zoo.detector import Detector
from zoo.export.gap import OutputGap
from zoo.export.metadata import described
from zoo.export.options import ExportOptions

VERSION = 1


def contract_path(path: Path) -> Path:
    """Where the contract of an exported file lies."""
    return path.with_name(path.name + ".json")


def write_contract(
    detector: Detector, options: ExportOptions, format_name: str, files: Sequence[Path], gaps: Mapping[str, OutputGap]
) -> None:
    """Write the contract beside ``files[0]``; the others are its companions."""
    values = {
        "contract": VERSION,
        "format": format_name,
        **described(detector, options),
        "gaps": {name: gap.to_dict() for name, gap in gaps.items()},
        "files": [{"name": file.name, "bytes": file.stat().st_size, "sha256": file_sha256(file)} for file in files],
    }
    write_atomic(contract_path(files[0]), json.dumps(values, indent=2) + "\n")


def read_contract(path: Path) -> dict[str, Any]:
    """The contract of an exported file; ``BadInput`` if there is none, or if a file changed after it was written."""
    beside = contract_path(path)
    if not path.is_file() or not beside.is_file():
        missing = path if not path.is_file() else beside
        raise BadInput(f"{str(missing)!r} is missing: an exported file is run with the contract that nas export writes")
    values = read_json(beside, "contract")
    try:
        version, files = values["contract"], {entry["name"]: entry["sha256"] for entry in values["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{str(beside)!r} is no contract of an exported file: export it again") from error
    if version != VERSION or path.name not in files:
        raise BadInput(f"{str(beside)!r} is the contract of another file or version: export {path.name!r} again")
    for name, sha256 in files.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise BadInput(f"{str(beside)!r} names a file outside its folder: {name!r:.80}; export {path.name!r} again")
        file = path.with_name(name)
        if not file.is_file() or file_sha256(file) != sha256:
            raise BadInput(f"{str(file)!r} is not the file that {beside.name!r} was written for: export it again")
    return dict(values)
