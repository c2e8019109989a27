"""Which detector to choose: search, costs, training runs, comparison, and the ``nas`` command.

Every command is also a function, with the same names and defaults::

    found = nas.search("3ms", "t4")
    trained = nas.train(found.folder, "my-data")
    nas.export(trained.best, "onnx")
    nas.predict(trained.best, "photo.jpg")

A function is imported when it is first used, so that ``import nas`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench import __version__ as __version__

if TYPE_CHECKING:
    from nas.api.atlas import atlas as atlas
    from nas.api.bench import bench as bench
    from nas.api.calibrate import calibrate as calibrate
    from nas.api.compare import compare as compare
    from nas.api.cost import cost as cost
    from nas.api.distill import distill as distill
    from nas.api.evaluate import evaluate as evaluate
    from nas.api.export import export as export
    from nas.api.latency import latency as latency
    from nas.api.predict import predict as predict
    from nas.api.score import score as score
    from nas.api.search import search as search
    from nas.api.shrink import shrink as shrink
    from nas.api.train import train as train
    from nas.api.tune import tune as tune

FUNCTIONS = (
    "search", "shrink", "score", "atlas", "cost", "latency", "bench", "calibrate", "train", "distill", "evaluate",
    "predict", "export", "tune", "compare",
)  # fmt: skip
"""The API. Each function is in ``nas.api``, in the module of its name."""


def __getattr__(name: str) -> Any:
    """A function of the API, imported when it is first used."""
    import importlib

    if name in FUNCTIONS:
        return getattr(importlib.import_module(f"nas.api.{name}"), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *FUNCTIONS})
