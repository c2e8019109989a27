"""What holds on a CUDA GPU, in about ten minutes: numbers against the CPU, speed, measuring, TensorRT, two processes.

    python benchmarks/gpu.py --out gpu.md                 # all families, 320 px, batches of 8, on cuda
    python benchmarks/gpu.py --device cpu --quick         # a rehearsal of the same code without a GPU

1. Numbers: for one size of each family raw outputs in evaluation mode, losses and gradients in training mode on fixed
   random images, the device in FP32 (without TF32), BF16 and FP16 against the CPU in FP32, with the same fresh weights.
   Batch norms of two images and few cells amplify rounding: at 64 px half precision tells nothing of a device.
2. Speed: images a second of the whole loop (loader, losses, optimizer, average) and of its steps alone on a batch that
   is fed again and again.
3. Measuring: ``nas bench`` and ``nas calibrate`` on the device.
4. TensorRT, where it is installed: an engine of the first model.
5. Two processes that share a card: the sum of a tensor over both, by NCCL on CUDA and Gloo on a CPU.

A part that cannot run says why in the page. Prints the page as Markdown and writes it to ``--out``.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.files import write_atomic
from zoo.detector import Detector, Raw
from zoo.factory import build
from zoo.learning.targets import Phase, Targets, total

MODELS = ("yolox-s", "damo-yolo-t", "yolov7-tiny", "yolo11n", "yolo26n", "rtdetrv2-s")
"""One size of each family."""
PRECISIONS = {"FP32": None, "BF16": torch.bfloat16, "FP16": torch.float16}
LOSS_SCALES = (1024.0, 128.0, 16.0, 1.0)
"""Factors of the loss before the backward pass in half precision, tried until no gradient overflows."""
CLASSES = 20
PAIR = """
import os, sys, torch, torch.distributed as dist
backend, rank = sys.argv[1], int(sys.argv[2])
device = "cuda:0" if backend == "nccl" else "cpu"
dist.init_process_group(backend, rank=rank, world_size=2)
x = torch.full((1024,), float(rank + 1), device=device)
dist.all_reduce(x)
assert bool((x == 3).all()), x
dist.destroy_process_group()
"""
"""What each of two processes runs."""


def some_targets(images: int, input_px: int) -> Targets:
    """Two objects an image, the same on every machine."""
    random = torch.Generator().manual_seed(1)
    boxes, labels = [], []
    for _ in range(images):
        low = torch.rand(2, 2, generator=random) * input_px / 2
        boxes.append(torch.cat([low, low + input_px / 8 + torch.rand(2, 2, generator=random) * input_px / 4], 1))
        labels.append(torch.randint(CLASSES, (2,), generator=random))
    return Targets(tuple(boxes), tuple(labels), tuple(torch.zeros(0, 4) for _ in range(images)))


def tensors_of(raw: Raw) -> list[Tensor]:
    """All tensors of a raw output as float32 on the CPU."""
    columns = [value if isinstance(value, (list, tuple)) else [value] for _, value in sorted(raw.items())]
    return [tensor.detach().float().cpu() for column in columns for tensor in column]


def outputs(detector: Detector, image: Tensor, dtype: torch.dtype | None) -> list[Tensor]:
    """Raw outputs in evaluation mode."""
    detector.eval()
    with torch.no_grad(), autocast(image, dtype):
        return tensors_of(detector(image))


def loss_and_gradient(
    detector: Detector, image: Tensor, targets: Targets, dtype: torch.dtype | None, scale: float
) -> tuple[float, Tensor]:
    """Loss in training mode, and all its gradients ``[parameters]`` in float64."""
    detector.train().zero_grad(set_to_none=True)
    with autocast(image, dtype):
        raw = detector.head(detector.features(image))
        loss = total(detector.loss(raw, targets, (image.shape[-2], image.shape[-1]), Phase()))
    (loss * scale).backward()
    grads = [p.grad.double().cpu().flatten() / scale for p in detector.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(grads)


def autocast(image: Tensor, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Half precision, or nothing for None."""
    return nullcontext() if dtype is None else torch.autocast(image.device.type, dtype)


def numbers(model: str, args: argparse.Namespace) -> list[list[str]]:
    """A row for each precision: the largest gap of outputs, that of the loss, and gradients."""
    torch.manual_seed(args.seed)
    reference = build(model, CLASSES)
    random = torch.Generator().manual_seed(args.seed)
    image = torch.rand(2, 3, args.input, args.input, generator=random) / reference.preprocess.scale / 255
    targets = some_targets(2, args.input)
    raw = outputs(copy.deepcopy(reference), image, None)
    loss, grad = loss_and_gradient(copy.deepcopy(reference), image, targets, None, 1.0)
    rows = []
    for name, dtype in PRECISIONS.items():
        there = image.to(args.device)
        found = outputs(copy.deepcopy(reference).to(args.device), there, dtype)
        gap = max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-12)) for a, b in zip(found, raw, strict=True))
        for scale in (1.0,) if dtype is None else LOSS_SCALES:
            twin = copy.deepcopy(reference).to(args.device)
            value, slope = loss_and_gradient(twin, there, targets.to(args.device), dtype, scale)
            if slope.isfinite().all():
                break
        cosine = float(torch.nn.functional.cosine_similarity(slope, grad, 0))
        rows.append([
            model, name, f"{gap:.1e}", f"{abs(value - loss) / abs(loss):.1e}",
            f"{abs(float(slope.norm() / grad.norm()) - 1):.1e}", f"{cosine:.6f}",
        ])  # fmt: skip
    return rows


def speed(model: str, args: argparse.Namespace, folder: Path) -> list[str]:
    """Images a second of the loop with its loader, and of its steps alone."""
    from distill.data.feed.batch_order import BatchPlan
    from distill.data.feed.loader import Loader
    from distill.data.formats.readers import open_data
    from distill.train.loop import Loop
    from distill.train.recipe import load_recipe
    from distill.train.task import SupervisedTask

    data = open_data(folder / "data", "train")
    torch.manual_seed(args.seed)
    detector = build(model, len(data.classes))
    recipe = load_recipe("small", {"batch": args.batch, "epochs": 1000})
    loop = Loop(
        SupervisedTask(detector), recipe, 10_000, 10, seed=args.seed, device=args.device, precision=args.precision
    )
    with Loader(data, detector.preprocess, recipe.preset(), args.input, BatchPlan(args.batch, args.seed)) as loader:
        first = next(iter(loader.epoch(0)))
        loop.advance([first])  # what is compiled and allocated once
        rate = images_a_second(loop, args, lambda epoch: loader.epoch(epoch))
    bare = images_a_second(loop, args, lambda epoch: [first] * 10)
    return [model, args.precision, f"{rate:.1f}", f"{bare:.1f}", f"{rate / bare:.2f}"]


def images_a_second(loop: Any, args: argparse.Namespace, batches: Callable[[int], Iterable[Any]]) -> float:
    """Of whole epochs of ``batches`` (a function of the epoch's number) for ``args.seconds``."""
    images = 0

    def train() -> None:
        nonlocal images
        began, epoch = time.perf_counter(), 1
        while time.perf_counter() - began < args.seconds:
            for batch in batches(epoch):
                loop.advance([batch])
                images += len(batch.targets)
            epoch += 1

    seconds: float = loop.timed(train)
    return images / seconds


def measuring(args: argparse.Namespace, folder: Path) -> list[str]:
    """What ``nas bench`` and ``nas calibrate`` say on the device."""
    import nas

    lines = []
    runs: dict[str, Callable[[], object]] = {
        "nas bench": lambda: nas.bench(
            args.models[:1], device=args.device, input_px=args.input, seconds=args.seconds / 5, quiet=True
        ),
        "nas calibrate": lambda: nas.calibrate(args.device, name="gpu-check", minutes=args.minutes, quiet=True),
    }
    if args.minutes == 0:
        del runs["nas calibrate"]
    os.environ["NAS_DEVICES"] = str(folder / "devices")
    for name, call in runs.items():
        try:
            lines += [f"`{name}`:", "", "```", str(call()), "```", ""]
        except Exception as error:  # a part that fails is a finding of this page, not its end
            lines += [f"`{name}`: {type(error).__name__}: {' '.join(str(error).split())}", ""]
    return lines


def tensorrt(args: argparse.Namespace, folder: Path) -> str:
    """Whether an engine of the first model is built, or why not."""
    try:
        import tensorrt as trt
    except ImportError:
        return "TensorRT is not installed."
    from nas.api.export import export

    try:
        made = export(args.models[0], "tensorrt", out=str(folder / "engine"), input_px=args.input, quiet=True)
    except Exception as error:  # a part that fails is a finding of this page, not its end
        return f"TensorRT {trt.__version__}: {type(error).__name__}: {' '.join(str(error).split())}"
    return f"TensorRT {trt.__version__}:\n\n```\n{made}\n```"


def two_processes(device: str, folder: Path) -> str:
    """Whether two processes on one card can add up a tensor."""
    backend = "nccl" if device == "cuda" else "gloo"
    script = folder / "pair.py"
    script.write_text(PAIR)
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20_000 + os.getpid() % 20_000)}
    command = [sys.executable, str(script), backend]
    running = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    errors = []
    for process in running:
        try:
            errors.append(process.communicate(timeout=120)[1])
        except subprocess.TimeoutExpired:
            process.kill()
            errors.append(process.communicate()[1] or "no answer in 120 s")
    if all(process.returncode == 0 for process in running):
        return f"{backend}: two processes add up a tensor."
    last = next((line for text in errors for line in reversed(text.splitlines()) if line.strip()), "no message")
    return f"{backend}: refused: {last.strip()}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def page(args: argparse.Namespace, folder: Path) -> str:
    """All parts, each of which is printed as soon as it is there."""
    name = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {os.cpu_count()} cores"
    lines = [
        "# GPU check", "", f"Device: {name}. torch {torch.__version__}, Python {platform.python_version()}.",
        f"{args.input} px, batches of {args.batch}, seed {args.seed}.", "", "## Numbers against the CPU in FP32", "",
    ]  # fmt: skip
    rows = [row for model in args.models for row in numbers(model, args)]
    lines += table(["model", "precision", "outputs", "loss", "gradient norm", "cosine of gradients"], rows)
    print("\n".join(lines), flush=True)
    parts: dict[str, Callable[[], list[str]]] = {
        "Images a second": lambda: table(
            ["model", "precision", "with loader", "steps alone", "ratio"],
            [speed(model, args, folder) for model in args.models],
        ),
        "Measuring": lambda: measuring(args, folder),
        "TensorRT": lambda: [tensorrt(args, folder), ""],
        "Two processes on one card": lambda: [two_processes(args.device, folder), ""],
    }
    for title, make_part in parts.items():
        part = [f"## {title}", "", *make_part()]
        print("\n".join(part), flush=True)
        lines += part
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--input", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the steps timed")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each loop timed")
    parser.add_argument("--minutes", type=float, default=3.0, help="of nas calibrate; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="64 px, one second, without nas calibrate")
    parser.add_argument("--out", help="Markdown file to write")
    args = parser.parse_args()
    if args.quick:
        args.input, args.batch, args.seconds, args.minutes = 64, 2, 1.0, 0.0
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; --device cpu rehearses the same code")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    from distill.data.synthetic.synth import make

    with tempfile.TemporaryDirectory() as name:
        make(Path(name) / "data", max(3 * args.batch, 12), args.seed)
        text = page(args, Path(name))
    if args.out:
        write_atomic(args.out, text + "\n")


if __name__ == "__main__":
    main()
