"""A worker's side: it prepares the run as the driver did, and trains on its part of every batch.

Only the first worker writes and speaks. It leaves word at the driver's desk about once a second, and learns there whether it shall stop.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput
from workbench.locks import InUse
from workbench.workers.base import run_job

if TYPE_CHECKING:
    from distill.study.request import PreparedRun, TrainRequest
    from distill.train.run import TrainResult

EVERY_S = 1.0
"""Seconds between two words to the driver, unless it must know at once."""
LOCKED_S = 60.0
"""Seconds that the workers of a killed driver may take to let go of the run folder."""


class Desk:
    """Where workers leave word for the driver; a Ray actor beside it."""

    def __init__(self) -> None:
        self._said: list[tuple[str, bool]] = []
        self._failure = ""
        self._stop = False
        self._begun = 0

    def begin(self) -> int:
        """How often the workers have begun by now."""
        self._begun += 1
        return self._begun

    def tell(self, text: str = "", force: bool = False) -> bool:
        """Leave ``text``, or nothing; whether the driver wants the run to stop."""
        if text:
            self._said.append((text, force))
        return self._stop

    def fail(self, reason: str) -> None:
        """Leave word of what cannot be mended by beginning anew."""
        self._failure = self._failure or reason

    def read(self, stop: bool) -> tuple[list[tuple[str, bool]], str]:
        """What was said since the last time, and a failure; says whether to ``stop``."""
        self._stop = self._stop or stop
        said, self._said = self._said, []
        return said, self._failure


@dataclass(frozen=True)
class Order:
    """What every worker is told."""

    request: TrainRequest
    """With neither ``spread`` nor ``fresh``."""
    settings: dict[str, Any]
    """Of the run, as the driver found them."""
    cpus: int
    where: str
    """The driver's working folder."""
    versions: dict[str, str]


def work(config: dict[str, Any]) -> TrainResult | None:
    """Ray Train's training function. The first worker gives the outcome; None where the driver wanted an end."""
    desk = _AtDesk(config["desk"])
    order: Order = config["order"]
    try:
        found: TrainResult | None = run_job(order.versions, train_part, order, desk)
        return found
    except BadInput as error:
        desk.fail(str(error))
        return None
    except KeyboardInterrupt:
        return None


class _AtDesk:
    """The desk from a worker's side."""

    def __init__(self, desk: Any) -> None:
        import ray

        self._ray, self._desk = ray, desk
        self._at = 0.0
        self._stop = False

    def log(self, text: str, force: bool = False) -> None:
        """Leave ``text``, unless the last word is too fresh."""
        if force or time.monotonic() - self._at >= EVERY_S:
            self._ask(text, force)

    def stop(self) -> bool:
        """Whether the driver wants an end, as of a second ago."""
        if time.monotonic() - self._at >= EVERY_S:
            self._ask("", False)
        return self._stop

    def begin(self) -> int:
        """How often the workers have begun by now."""
        return int(self._ray.get(self._desk.begin.remote()))

    def fail(self, reason: str) -> None:
        """Leave word of what cannot be mended by beginning anew."""
        self._ray.get(self._desk.fail.remote(reason))

    def _ask(self, text: str, force: bool) -> None:
        self._stop = self._ray.get(self._desk.tell.remote(text, force))
        self._at = time.monotonic()


def train_part(order: Order, desk: _AtDesk) -> TrainResult:
    """This worker's part of the run. All workers must find the same data and the same network as the driver did."""
    import torch

    from distill.study.request import prepare
    from distill.train.parallel.group import joined
    from workbench.workers.on_ray import RETRIES

    os.chdir(order.where)
    if order.request.device == "cpu":
        torch.set_num_threads(order.cpus)
    prepared = prepare(order.request)
    for name, value in order.settings.items():
        if prepared.settings.get(name) != value:
            raise BadInput(f"node {platform.node()!r} finds {name}={prepared.settings.get(name)!r}, not {value!r} as the driver did: all nodes must see the same files")
    with joined() as group:
        if not group.writes:
            return prepared.train(lambda text, force=False: None)
        begun = desk.begin()
        if begun > 1:
            desk.log(f"a worker died: all of them begin anew from the last state ({begun - 1} of {RETRIES} times)", force=True)
        _let_go(prepared)
        return prepared.train(desk.log, asked_to_stop=desk.stop)


def _let_go(prepared: PreparedRun) -> None:
    """Wait for the workers of an earlier group, which may still be on their way out."""
    deadline = time.monotonic() + LOCKED_S
    while True:
        try:
            prepared.open_folder().close()
            return
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
