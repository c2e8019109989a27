"""A function done by several processes that share every batch, over gloo on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from distill.train.parallel.group import joined
from distill.train.parallel.rendezvous import process_group

LIMIT_S = 240


def together(world: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The results of ``function(*arguments)`` in ``world`` processes. It must be a function of a module."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_one, args=(folder, rank, world, function, arguments)) for rank in range(world)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(LIMIT_S)
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0] * world, f"processes ended with {codes}"
    return [torch.load(folder / f"found-{rank}.pt", weights_only=True) for rank in range(world)]


def _one(folder: Path, rank: int, world: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    with process_group(folder / "meeting", rank, world), joined():
        torch.save(function(*arguments), folder / f"found-{rank}.pt")
