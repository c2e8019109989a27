"""What is changed of the pages' commands when tests run them: less to do, and what cannot be done here. Nothing else
is."""

from __future__ import annotations

import re

LIMITS = {
    "bench": "--seconds 0.1 --rounds 3",
    "bench-scores --train": "--train 3 --images 10 --input 64 --shrink 8 --batch 4",
    "bench-scores --repeat": "--repeat 1",
    "compare --device": "--only damo-yolo,yolo26n",
    "data synth": "--images 20",
    "distill": "--epochs 1 --input 64 --data-workers 0 --fresh",
    "distill --control": "--seeds 1",
    "search": "--steps 2000 --time-limit 5",
    "search --measure": "--measure 1",
    "search --name": "--fresh",
    "search --teacher": "--against yolox-nano",
    "search --then": "--top 1 --epochs 1 --train-input 64 --train-data-workers 0 --fresh",
    "search --workers": "--workers 2",
    "shrink": "--epochs 1 --images 8 --input 64 --train-data-workers 0 --fresh",
    "shrink --control": "--seeds 1",
    "shrink --rounds": "--rounds 2",
    "train": "--epochs 1 --input 64 --data-workers 0 --fresh",
    "tune": "--trials 2 --epochs 1 --input 64 --data-workers 0 --fresh",
}
"""Options that a command gets when it has all the words on the left: in place of the page's value, else behind. What a
reader waits hours for is then done in seconds; ``--fresh`` because examples beside one another would otherwise be
refused the run folder of the one before."""

CONFLICTS = {"bench-scores --design": ("--shrink",), "bench-scores --pictures": ("--images",)}
"""Options of ``LIMITS`` that a command with these words cannot have."""

NOT_HERE = {
    "calibrate": (
        "five minutes on a quiet machine, and it refuses a busy one; tests/nas/devices/calibration/test_calibrate.py"
        " runs it on a small set"
    ),
    "--address": "joins a Ray cluster; tests/nas/searcher/test_ray.py runs searches on one of three nodes",
    "cuda": "needs a GPU",
    "--gpus-per-worker": "needs a GPU for each worker",
}
"""Words of commands that are not run, and why."""

ELSEWHERE = {
    ".ci/run": "runs this suite",
    ".venv/bin/pip": "installs from the network",
    ".venv/bin/python -m pytest": "runs this suite",
    "docker": "builds an image; tests/nas/test_cluster_files.py reads the Dockerfile",
    "g++": "tests/docs/test_deploy.py compiles the programs",
    "kubectl": "needs a Kubernetes cluster; tests/nas/test_cluster_files.py checks the manifest",
    "optuna-dashboard": "is a package of its own, which serves until it is stopped; tests/nas/tuning reads the storage",
    "python -m pytest -m slow tests/hostile": "runs this suite",
    "python -m tests.hostile.fuzz": "tests/hostile/test_fuzz.py runs it",
    "python docs/deploy/": "tests/docs/test_deploy.py runs the programs",
    "python3 -m venv": "makes an environment",
    "ray": "starts and stops nodes of a cluster; tests/nas/searcher/test_ray.py does",
    "sbatch": "needs Slurm; tests/nas/test_cluster_files.py checks the script",
    "source": "tests/nas/commands/test_cli.py checks the scripts that completion prints",
    "tensorboard": "is what nas board starts, which is run",
}
"""Beginnings of lines that are no ``nas`` command, why they are not run, and who looks after them."""

NO_COMMANDS = {
    "docs/architecture.md": "the folders",
    "docs/spaces.md": "error messages, which tests/test_foundation.py compares",
}
"""Pages with blocks that show something else without naming a language."""


def limited(words: list[str]) -> list[str]:
    """The words of a command with the options of ``LIMITS``."""
    words = list(words)
    refused = {option for needed, options in CONFLICTS.items() if begins(words, needed) for option in options}
    for needed, options in LIMITS.items():
        if not begins(words, needed):
            continue
        for option, value in re.findall(r"(--[a-z-]+)(?: ([^-]\S*))?", options):
            if option in refused:
                continue
            if option not in words:
                words += [option, value] if value else [option]
            elif value:
                at = words.index(option) + 1
                words[at : at + (at < len(words) and not words[at].startswith("--"))] = [value]
    return words


def begins(words: list[str], needed: str) -> bool:
    """Whether a command begins with the plain words of ``needed`` and has its options."""
    plain = [word for word in needed.split() if not word.startswith("--")]
    return words[: len(plain)] == plain and all(word in words for word in needed.split())


def why_not(words: list[str]) -> str:
    """Why a command is not run here; empty where it is."""
    for word, reason in NOT_HERE.items():
        if word in words and not (reason.startswith("needs a GPU") and has_gpu()):
            return reason
    return ""


def has_gpu() -> bool:
    """Whether torch sees one."""
    import torch

    return torch.cuda.is_available()
