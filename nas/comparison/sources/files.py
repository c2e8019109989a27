"""Reading files of runs; errors name the file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml

from workbench.checks import check_number
from workbench.errors import BadInput


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot read {str(file)!r} as JSON: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise BadInput(f"{str(file)!r} must hold a JSON object, not {type(data).__name__}")
    return data


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML mapping from a file."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"cannot read {str(file)!r} as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise BadInput(f"{str(file)!r} must hold a mapping of settings, not {type(data).__name__}")
    return data


def finite(value: Any, name: str, file: Path, least: float = 0.0, most: float = math.inf) -> float:
    """A number from ``least`` to ``most``, or an error that names the file and the field."""
    return check_number(f"{str(file)!r}: {name}", value, least, most)


def one_line(value: Any, most: int = 200) -> str:
    """A foreign value as one line of at most ``most`` characters."""
    line = " ".join(str(value).split())
    return line if len(line) <= most else line[: most - 1] + "…"
