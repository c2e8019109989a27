"""``nas.calibrate``: a latency profile of this machine."""

from __future__ import annotations

import shlex
from typing import Any

import nas.devices.calibrate as calibration
from nas.devices.calibrate import CalibrationResult
from nas.devices.profile import user_folder
from nas.devices.runtimes import choose_target
from workbench.console import Progress
from workbench.errors import BadInput


def calibrate(
    device: str = "cpu", *, runtime: str | None = None, threads: int | None = None, precision: str = "FP32",
    name: str | None = None, minutes: float = 5.0, seed: int = 0, quiet: bool = False,
) -> CalibrationResult:  # fmt: skip
    """Measure designed networks on this machine, fit a profile, and check it on networks that were not fitted.

    The profile goes to the user's own folder of profiles (``NAS_DEVICES``, or ``~/.config/nas/devices``) with the
    measurements beside it. An interrupted calibration resumes.

    Args:
        device: ``cpu`` or ``cuda``.
        runtime: ``onnxruntime``, ``openvino`` or ``torch``; None takes the device's default.
        threads: CPU threads; None takes all CPUs.
        precision: ``FP32``, or ``FP16`` with torch on CUDA.
        name: of the profile; None: the device, with runtime, threads and precision where they are given.
        minutes: time for all of it.
        seed: of the designed set and its order.
    """
    if seed < 0:
        raise BadInput(f"seed {seed} must be at least 0")
    target = choose_target(device, runtime, threads, precision)
    defaults: dict[str, Any] = {"precision": "FP32", "minutes": 5.0, "seed": 0}
    options = {
        "runtime": runtime, "threads": threads, "precision": precision, "name": name, "minutes": minutes, "seed": seed,
    }  # fmt: skip
    chosen = {option: value for option, value in options.items() if value not in (None, defaults.get(option))}
    progress = Progress(quiet)
    try:
        return calibration.calibrate(
            target, _profile_name(device, chosen) if name is None else name, user_folder(), minutes, seed,
            _command(device, chosen), progress.show,
        )  # fmt: skip
    finally:
        progress.done()


def _profile_name(device: str, chosen: dict[str, Any]) -> str:
    """The device with what was chosen for it, such as ``cpu-openvino-2t``."""
    parts = [device]
    for option in ("runtime", "threads", "precision"):
        if option in chosen:
            parts.append(f"{chosen[option]}t" if option == "threads" else str(chosen[option]).lower())
    return "-".join(parts)


def _command(device: str, chosen: dict[str, Any]) -> str:
    """The command that makes this profile, for its provenance."""
    words = ["nas", "calibrate", "--device", device]
    for option, value in chosen.items():
        words += [f"--{option}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
