"""A training run as one of several processes does it that share every batch, without Ray."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distill.prepare import prepare
from distill.request import TrainRequest
from distill.teach.request import TeacherRequest


def distilled(home: Path, name: str) -> dict[str, Any]:
    """Distil ``taught.safetensors`` from ``teacher.safetensors`` with views that come round again; what the run
    remembers of its epochs.
    """
    os.chdir(home)
    request = TrainRequest(
        model="taught.safetensors",
        data="data",
        epochs=4,
        batch=4,
        input_px=64,
        data_workers=0,
        changes=("closing_epochs=1", "optimizer=sgd", "lr=0.001", "views=2"),
        teaching=TeacherRequest(("teacher.safetensors",), features=("cwd",), responses=(), cache=f"cache-{name}"),
        name=name,
        quiet=True,
    )
    outcome = prepare(request).train(lambda text, force=False: None)
    return {"history": outcome.history, "verdict": outcome.metrics}
