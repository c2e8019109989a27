"""What every other package stands on: errors, files, locks, signals, console, run folders, events and workers."""

__version__ = "0.1.0"
