"""What a training leaves to look at without a server: ``report.html``, its pictures, and ``results.csv``.

``write`` makes all of it from a training's folder and its data; nothing here is needed to train.
"""
