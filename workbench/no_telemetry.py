"""Turns off what packages that we use would report about their use, before any of them is imported."""

from __future__ import annotations

import os

SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Environment variables of ONNX Runtime, Ray and Hugging Face Hub. OpenVINO's is kept out in ``zoo.export``."""


def turn_off() -> None:
    """Set the switches, for this process and those that it starts."""
    os.environ.update(SWITCHES)
