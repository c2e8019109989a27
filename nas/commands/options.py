"""Options that several commands share, each declared once, and the way from parsed options to the API."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

NOT_API = ("command", "run", "json")
"""What ``argparse`` and the output format add to the options of a command."""


def api_options(args: argparse.Namespace, *without: str) -> dict[str, Any]:
    """The parsed options as keyword arguments of the API function that the command calls."""
    return {name: value for name, value in vars(args).items() if name not in NOT_API and name not in without}


@dataclass(frozen=True)
class TrainingDefaults:
    """How a command that trains differs from ``nas train``.

    ``prefix`` stands before names that another option of the command has already (``train`` gives ``--train-device``).
    With ``unset`` every default is None, so that an option without its main option can be refused.
    """

    prefix: str = ""
    unset: bool = False
    of: str = ""
    """What is trained, in the help texts: ``of every trial``."""
    epochs: str = "the recipe's"
    batch: str = "the recipe's"
    recipe: str = "small below 5,000 images, else the family's"

    def option(self, name: str) -> str:
        """``--name`` with the prefix."""
        return f"--{self.prefix}-{name}" if self.prefix else f"--{name}"


PLAIN = TrainingDefaults()


def add_model_argument(add: Any, name: str = "model", required: bool | None = None) -> None:
    """The model to train, as a positional argument or, with ``name`` ``--model``, as an option."""
    more: dict[str, Any] = {"metavar": "MODEL"} if required is None else {"metavar": "M", "required": required}
    add(name, help="architecture YAML, run folder, model of the zoo, or checkpoint", **more)


def add_data_options(add: Any, required: bool = True, more: str = "") -> None:
    """``--data`` and ``--val``; ``more`` is what else the command does with the data, for the help text."""
    text = f"training data (with a val split, unless --val is given){more}"
    add("--data", required=required, metavar="PATH", help=text)
    add("--val", metavar="PATH", help="validation data, when it is not beside the training data")


def add_weights_option(add: Any) -> None:
    """``--weights``."""
    add("--weights", metavar="FILE", help="checkpoint (.safetensors) to start from; matching tensors are loaded")


def add_inherit_option(add: Any) -> None:
    """``--inherit``."""
    add("--inherit", metavar="FILE", help="checkpoint (.safetensors) of a larger, smaller or otherwise different "
        "detector of the family; its weights are taken over as far as they fit")  # fmt: skip


def add_recipe_option(add: Any, defaults: TrainingDefaults = PLAIN) -> None:
    """``--recipe``."""
    add("--recipe", metavar="R", help=f"name of a recipe or a YAML file (default: {defaults.recipe})")


def add_training_options(add: Any, defaults: TrainingDefaults = PLAIN) -> None:
    """``--set`` (with the prefix), ``--epochs`` and ``--batch``."""
    add(defaults.option("set"), action="append", default=None if defaults.unset else [], metavar="KEY=VALUE",
        dest=f"{defaults.prefix}_changes".lstrip("_"),
        help="change one setting of the recipe; may be repeated")  # fmt: skip
    add("--epochs", type=int, metavar="N", help=f"epochs{defaults.of} (default: {defaults.epochs})")
    add("--batch", type=int, metavar="N", help=f"images a step (default: {defaults.batch})")


def add_device_option(add: Any, defaults: TrainingDefaults = PLAIN) -> None:
    """``--device`` (with the prefix) where torch runs."""
    add(defaults.option("device"), metavar="D", default=None if defaults.unset else "cpu", help="cpu (default) or cuda")


def add_compute_options(add: Any, defaults: TrainingDefaults = PLAIN) -> None:
    """``--device`` and ``--data-workers``, with the prefix."""
    add_device_option(add, defaults)
    add(defaults.option("data-workers"), type=int, metavar="N", help="processes that load images (default: tuned)")


def add_precision_option(add: Any) -> None:
    """``--precision`` of a training."""
    add("--precision", help="fp32, bf16 or fp16 (default: fp32 on the CPU, the recipe's on a GPU)")


def add_teacher_options(add: Any, required: bool = False, unset: bool = False) -> None:
    """``--teacher`` and ``--teacher-weights``."""
    add(
        "--teacher", required=required, action="append", metavar="T",
        help="checkpoint (.safetensors), a model's name with --teacher-weights, or self (EMA of the student); "
        "may be repeated for an ensemble",
    )  # fmt: skip
    add("--teacher-weights", action="append", default=None if unset else [], metavar="FILE",
        help="checkpoint of a teacher that is given by name; may be repeated, in their order")  # fmt: skip


def add_worker_options(add: Any, what: str) -> None:
    """``--workers`` and ``--address``; ``what`` says what runs there."""
    add("--workers", type=int, metavar="N", help=f"{what} (default: this process)")
    add("--address", metavar="A", help="with --workers: join the Ray cluster at auto or HOST:PORT; its nodes must see "
        "data and runs under the same paths")  # fmt: skip


def add_run_options(add: Any, what: str, name: str) -> None:
    """``--name``, ``--runs`` and ``--fresh`` of a kind of run (``what``), whose default name is ``name``."""
    add("--name", help=f"name of the run folder (default: {name})")
    add("--runs", default="runs", metavar="DIR", help="folder of runs (default: %(default)s)")
    add("--fresh", action="store_true", help=f"start over in a folder that holds an earlier {what}")


def add_changed_data_option(add: Any) -> None:
    """``--accept-changed-data``."""
    text = "resume although images changed since the run began"
    add("--accept-changed-data", action="store_true", help=text)


def add_seed_option(add: Any, what: str) -> None:
    """``--seed``."""
    add("--seed", type=int, default=0, help=f"seed of {what} (default: %(default)s)")


def add_branch_option(add: Any, text: str = "the model's own") -> None:
    """``--branch``: of a head with two."""
    add("--branch", help=f"branch of a head that has two: one_to_one or one_to_many (default: {text})")


def add_input_option(
    add: Any, default: int | None = None, text: str = "the model's own", name: str = "--input"
) -> None:
    """``--input``: the side of the input in pixels."""
    shown = "%(default)s" if default is not None else text
    add(name, type=int, metavar="PX", default=default, dest=f"{name.strip('-').replace('-', '_')}_px",
        help=f"input side in pixels (default: {shown})")  # fmt: skip


def add_device_profile_option(add: Any) -> None:
    """``--device`` where it names one latency profile and may be left out."""
    add("--device", metavar="D", help="also predict latency on this device profile (see nas devices)")


def add_target_options(add: Any) -> None:
    """Where networks are measured: ``--device``, ``--runtime``, ``--threads`` and ``--precision``."""
    add("--device", default="cpu", help="cpu (default) or cuda")
    add_runtime_options(add)
    add("--precision", default="FP32", help="FP32 (default), or FP16 with --device cuda --runtime torch")


def add_runtime_options(add: Any, condition: str = "") -> None:
    """``--runtime`` and ``--threads``; ``condition`` stands before their help texts."""
    add("--runtime", help=f"{condition}onnxruntime (default), openvino, torch or ncnn")
    add("--threads", type=int, metavar="N", help=f"{condition}CPU threads (default: all CPUs)")


def add_batch_option(add: Any, default: int) -> None:
    """``--batch`` of inference."""
    add("--batch", type=int, default=default, metavar="N", help="images a run (default: %(default)s)")


def add_output_options(add: Any, json: str = "print JSON", quiet: bool = True) -> None:
    """``--quiet`` and ``--json``."""
    if quiet:
        add("--quiet", action="store_true", help="no progress line")
    add("--json", action="store_true", help=json)
