"""Images a second of the training loader alone, and what it keeps in memory over ten epochs.

    python benchmarks/loader_speed.py                          # 320 px, batches of 8, every preset
    python benchmarks/loader_speed.py --presets yolox --workers 0 1 2 --input 640 --images 1000

The data are the synthetic set, made in a temporary folder. The first epoch decodes files and fills the cache, the
others read it. CPU time is that of the process and its workers together, and unlike images a second says the same on
a machine that has other work. Memory is the proportional set size of the same processes, the shared cache counted
once. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from distill.data.dataset import DataSet
from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.loader import Loader, ReadOptions
from distill.data.feed.presets import PRESETS
from distill.data.formats.readers import open_data
from distill.data.synthetic.synth import make
from zoo.images import Preprocess

STRETCHED = ("damo", "detr")
"""Presets of families that stretch an image to the input; the others letterbox it."""
AFTER_EPOCHS = (1, 5, 10)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one preset."""

    first_per_s: float
    later_per_s: float
    cpu_ms: float
    """Of one image, after the first epoch."""
    memory_mib: tuple[float, ...]
    """After each of ``AFTER_EPOCHS``."""
    workers: int


def cpu_s(pids: tuple[int, ...]) -> float:
    """Processor time of processes so far."""
    return (
        sum(
            sum(int(n) for n in Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13])
            for pid in pids
        )
        / TICKS
    )


def memory_mib(pids: tuple[int, ...]) -> float:
    """Proportional set size of processes together, without what this one's allocator holds in reserve."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = (
        line
        for pid in pids
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
    return sum(int(line.split()[1]) for line in lines) / 1024


def measure(data: DataSet, preset: str, input_px: int, batch: int, workers: int | None, seed: int) -> Figures:
    """Ten epochs of one preset."""
    how = (
        Preprocess("rgb", 1.0, resize="stretch")
        if preset in STRETCHED
        else Preprocess("bgr", 1.0, resize="letterbox-corner")
    )
    passed, memory, cpu = [], [], 0.0
    with Loader(data, how, preset, input_px, BatchPlan(batch, seed), ReadOptions(workers)) as loader:
        for epoch in range(max(AFTER_EPOCHS)):
            began, cpu_before = time.perf_counter(), cpu_s((os.getpid(), *loader.worker_pids))
            for prepared in loader.epoch(epoch):
                assert len(prepared.targets) == batch
            passed.append(time.perf_counter() - began)
            del prepared
            pids = (os.getpid(), *loader.worker_pids)
            if epoch:
                cpu += cpu_s(pids) - cpu_before
            if epoch + 1 in AFTER_EPOCHS:
                memory.append(memory_mib(pids))
        images = len(loader) * batch
        return Figures(
            images / passed[0],
            images / min(passed[1:]),
            1000 * cpu / images / len(passed[1:]),
            tuple(memory),
            loader.workers,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--workers", nargs="+", type=int, default=[1], help="worker processes, 0 for none (default: 1)")
    parser.add_argument(
        "--images",
        type=int,
        default=500,
        help="images of the synthetic set; four fifths are for training (default: %(default)s)",
    )
    parser.add_argument("--input", type=int, default=320, metavar="PX")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of torch in this process (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "synth"
        began = time.process_time()
        make(out, args.images, args.seed)
        print(f"synthetic set: {args.images / (time.process_time() - began):.0f} images a second of CPU time\n")
        data = open_data(out, "train")
        columns = " | ".join(f"MiB after {n}" for n in AFTER_EPOCHS)
        print(
            f"| preset | workers | images/s, epoch 1 | images/s, best later | CPU ms an image | {columns} "
            f"|\n|{'---|' * (5 + len(AFTER_EPOCHS))}"
        )
        for preset in args.presets:
            for workers in args.workers:
                gc.collect()
                figures = measure(data, preset, args.input, args.batch, workers, args.seed)
                memory = " | ".join(f"{mib:.0f}" for mib in figures.memory_mib)
                print(
                    f"| {preset} | {figures.workers} | {figures.first_per_s:.0f} | {figures.later_per_s:.0f} | "
                    f"{figures.cpu_ms:.2f} | {memory} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
