"""The fit of the score ``forecast`` to all trained detectors together.

``evidence`` reads the points, ``recipe_terms`` turns recipes into columns, ``mixed`` is the statistical model and
``left_out`` leaves groups of related families out. ``benchmarks/fit_forecast.py`` fits, judges and writes the numbers.
"""
