"""Reading files of runs; errors name the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from workbench.checks import check_number
from workbench.doors.json import read_json_object
from workbench.doors.yaml import read_yaml_mapping


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    return read_json_object(file)


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML mapping from a file."""
    return read_yaml_mapping(file)


def finite(value: Any, name: str, file: Path, least: float = 0.0, most: float = math.inf) -> float:
    """A number from ``least`` to ``most``, or an error that names the file and the field."""
    return check_number(f"{str(file)!r}: {name}", value, least, most)


def one_line(value: Any, most: int = 200) -> str:
    """A foreign value as one line of at most ``most`` characters."""
    line = " ".join(str(value).split())
    return line if len(line) <= most else line[: most - 1] + "…"
