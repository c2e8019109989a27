"""OpenVINO without its telemetry, which importing the package alone would send."""

from __future__ import annotations

import sys
from typing import Any


def openvino() -> Any:
    """The package; ``ModuleNotFoundError`` if it is not installed."""
    blocked = "openvino_telemetry" not in sys.modules
    if blocked:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino as package
    finally:
        if blocked:
            del sys.modules["openvino_telemetry"]
    return package
