"""Words of other tools' command lines, and what they are called here. Nothing is translated: a hint says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

COMMANDS = ("train", "distill", "eval", "predict", "export", "tune")
"""Commands whose arguments are looked at."""
WORDS: Mapping[str, str] = {
    "model": "the first argument", "data": "--data PATH", "epochs": "--epochs N", "imgsz": "--input PX",
    "img-size": "--input PX", "img": "--input PX", "batch": "--batch N", "batch-size": "--batch N",
    "device": "--device D", "patience": "--patience N", "freeze": "--freeze N", "workers": "--data-workers N",
    "name": "--name NAME", "project": "--runs DIR", "seed": "--seed N", "resume": "the same command again",
    "exist_ok": "--fresh", "optimizer": "--set optimizer=NAME", "lr0": "--set lr=RATE",
    "lrf": "--set final_lr=SHARE", "momentum": "--set momentum=M", "weight_decay": "--set weight_decay=W",
    "warmup_epochs": "--set warmup_epochs=N", "close_mosaic": "--set closing_epochs=N",
    "multi_scale": "--set multi_scale=SHARE", "fliplr": "--set flip=P", "mosaic": "--set mosaic=P",
    "mixup": "--set mixup=P", "hsv_h": "--set hue=H", "hsv_s": "--set saturation=S", "hsv_v": "--set value=V",
    "amp": "--precision bf16 or fp32",
    "half": "--half of nas export, --precision fp16 of nas train", "cfg": "--recipe R",
    "hyp": "--recipe R", "source": "the images, as arguments", "conf": "--score S", "conf-thres": "--score S",
    "iou": "--iou I", "iou-thres": "--iou I", "max_det": "--max N", "classes": "--classes NAME,..",
    "format": "--format F", "save_txt": "--format yolo", "task": "no word: all of it is detection",
    "mode": "the command: nas train, nas predict ...",
}  # fmt: skip
"""Ultralytics' words and what stands for them here."""


def hint(argv: Sequence[str]) -> str:
    """What to write for the first word of another tool among the arguments, such as ``imgsz=640``; empty without one.

    A ``KEY=VALUE`` behind an option is that option's own.
    """
    if not argv or argv[0] not in COMMANDS:
        return ""
    for before, word in pairwise(argv):
        name, equals, value = word.partition("=")
        if equals and value and not before.startswith("--") and name in WORDS:
            return f"{word!r} is another tool's word: here it is {WORDS[name]} (nas {argv[0]} --help)"
    return ""


def of_option(option: str) -> str:
    """What another tool's option, such as ``--imgsz``, is called here; empty for an unknown one."""
    name = option.lstrip("-")
    return WORDS.get(name, WORDS.get(name.replace("-", "_"), ""))
