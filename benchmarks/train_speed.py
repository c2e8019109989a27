"""Images a second in training, the share of time spent waiting for data, and memory over ten epochs.

    python benchmarks/train_speed.py                           # yolox-s and damo-yolo-t, 320 px, batches of 8
    python benchmarks/train_speed.py --models yolo11n --images 160 --device cuda --precision bf16

The whole loop runs as ``nas train`` runs it (loader, losses, optimizer, average), without evaluation, each family
with its own augmentation. The data are the synthetic set, made in a temporary folder. The loader alone is then timed
on the same data. Memory is the proportional set size of the process and its workers. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from loader_speed import AFTER_EPOCHS, memory_mib

from distill.data.dataset import DataSet
from distill.data.feed.batch_order import BatchPlan
from distill.data.feed.loader import Loader
from distill.data.feed.presets import find_preset
from distill.data.formats.readers import open_data
from distill.data.synthetic.synth import make
from distill.train.loop import Loop
from distill.train.recipe import load_recipe
from distill.train.task import SupervisedTask
from zoo.factory import build


def measure(
    model: str, data: DataSet, input_px: int, batch: int, device: str, precision: str, seed: int
) -> list[object]:
    """One row of the table."""
    torch.manual_seed(seed)
    detector = build(model, len(data.classes))
    epochs = max(AFTER_EPOCHS)
    recipe = load_recipe(detector.family, {"epochs": epochs, "closing_epochs": 1, "batch": batch, "multi_scale": 0.0})
    preset = find_preset(recipe.augmentation).with_sizes(0.0)
    memory, waited, passed = [], 0.0, 0.0
    with Loader(data, detector.preprocess, preset, input_px, BatchPlan(batch, seed)) as loader:
        loop = Loop(
            SupervisedTask(detector),
            recipe,
            epochs * len(loader),
            len(loader),
            seed=seed,
            device=device,
            precision=precision,
        )
        for epoch in range(epochs):
            began = time.perf_counter()
            for fed in loader.epoch(epoch):
                assert not loop.advance([fed]).rolled_back
            if epoch:
                passed += time.perf_counter() - began
                waited += loader.waited_s
            if epoch + 1 in AFTER_EPOCHS:
                memory.append(memory_mib((os.getpid(), *loader.worker_pids)))
        images = (epochs - 1) * len(loader) * batch
    with Loader(data, detector.preprocess, preset, input_px, BatchPlan(batch, seed)) as loader:
        for fed in loader.epoch(0):
            assert len(fed.targets) == batch
        began = time.perf_counter()
        for _ in loader.epoch(1):
            pass
        alone = len(loader) * batch / (time.perf_counter() - began)
    rate = images / passed
    return [
        model,
        f"{rate:.2f}",
        f"{100 * waited / passed:.1f} %",
        *(f"{m:.0f}" for m in memory),
        f"{alone:.0f}",
        f"{alone / rate:.0f}",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["yolox-s", "damo-yolo-t"])
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--input", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "data", args.images, args.seed, lambda text: None)
        data = open_data(Path(folder) / "data", "train")
        print(
            "| model | images/s | waiting | "
            + " | ".join(f"MiB after {n}" for n in AFTER_EPOCHS)
            + " | loader alone, images/s | ratio |"
        )
        print("|" + "---|" * (5 + len(AFTER_EPOCHS)))
        for model in args.models:
            row = measure(model, data, args.input, args.batch, args.device, args.precision, args.seed)
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
