"""What every other package stands on: errors, files, locks, signals, console, run folders, events and workers."""

from workbench import no_telemetry

__version__ = "0.1.0"

no_telemetry.turn_off()
