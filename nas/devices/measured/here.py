"""This machine and a runtime on it, as a measurement states them."""

from __future__ import annotations

import datetime

from nas.devices.hardware import max_clock_mhz, power_mode
from nas.devices.measured.measurement import Device, Runtime
from nas.devices.runtimes import RUNTIMES
from nas.devices.runtimes.runtime import Target
from workbench import __version__
from workbench.hardware import cpus


def device_here(target: Target) -> Device:
    """The hardware of a target: names of models, no names of machines."""
    if target.device == "cuda":
        return Device(target.hardware(), "gpu")
    return Device(target.hardware(), "cpu", cpus(), max_clock_mhz(), power_mode())


def runtime_here(target: Target) -> Runtime:
    """The runtime of a target, with the version that is installed."""
    runtime = RUNTIMES[target.runtime]
    return Runtime(runtime.title, runtime.version(), target.precision, target.threads)


def today() -> str:
    """The day, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def tool() -> str:
    """Name and version of this workbench."""
    return f"nas-workbench {__version__}"
