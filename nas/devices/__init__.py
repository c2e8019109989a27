"""Latency on devices: profiles (``profiles/*.yaml``) and the model behind them, predicting, measuring and calibrating.

``prediction``, ``bench`` and ``calibration.calibrate`` are the entry points. ``runtimes/`` holds one file a runtime,
``measured/`` reads measurements from disk, ``fitting/`` fits profiles to them.
"""
