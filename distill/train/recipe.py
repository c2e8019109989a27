"""Training recipes: those of the families' authors, and one for small data.

A recipe is a YAML file in ``distill/train/recipes`` (or a file of your own) with every field of ``TrainRecipe`` that
differs from its default. The learning rate is for ``nominal_batch`` images a step and scales with the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.train.schedules import SCHEDULES, fills_batch
from workbench.checks import check_int, check_number
from workbench.doors.bytes import read_text
from workbench.doors.yaml import MOST_BYTES, parse_yaml
from workbench.errors import BadInput, unknown_name

if TYPE_CHECKING:
    from distill.data.feed.presets import Preset

OPTIMIZERS = ("sgd", "adamw", "muon")
PRECISIONS = ("fp32", "bf16", "fp16")
CHANCES = ("flip", "mosaic", "mixup")
"""Augmentations whose probability can be set."""
COLORS = ("hue", "saturation", "value")
"""Strengths of the color jitter that can be set."""
PARAMETER_GROUPS = ("plain", "yolo", "damo", "detr", "detr-norms")
"""The ways of grouping parameters; ``distill.train.optimizer.GROUPS`` has a function for each."""
OFFICIAL_TERMS: Mapping[str, Any] = {
    "schedule": "cosine", "warmup_steps": 0, "warmup_momentum": None, "warmup_bias_lr": None,
    "parameter_groups": "plain", "ema_start": 0, "channels_last": False,
}  # fmt: skip
"""Fields that only official recipes and changes set, with their defaults, which are not written: files stay as they
were."""
OFFICIAL = "official"
"""The recipe's name that stands for the family's own file in ``distill/train/recipes/official``."""
SMALL_IMAGES = 5000
"""With fewer training images the recipe ``small`` is the default; the families' own are for COCO's 118,287."""
MAX_EPOCHS = 100_000


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """How to train. Times are in epochs, sizes in pixels."""

    name: str = ""
    source: str = ""
    """Where the values come from."""
    optimizer: str = "sgd"
    lr: float = 0.01
    """Learning rate after warm-up for a batch of ``nominal_batch`` images."""
    nominal_batch: int = 64
    loss_scale: float = 1.0
    """Factor of the mean loss: some families state their rates for losses that grow with the batch."""
    momentum: float = 0.9
    """Momentum of SGD and Muon; the first beta of AdamW."""
    weight_decay: float = 5e-4
    """For weights with two or more dimensions; biases, scales and norms have none."""
    backbone_lr: float = 1.0
    """Learning rate of the backbone as a share of the others'."""
    final_lr: float = 0.05
    """Share of the learning rate that is left at the end of the cosine."""
    schedule: str = "cosine"
    """Name in ``distill.train.schedules.SCHEDULES``: our own, or the formulas of an official trainer."""
    warmup_epochs: float = 5.0
    warmup_steps: int = 0
    """Warm-up is at least so many steps."""
    warmup_momentum: float | None = None
    """Momentum at the start of warm-up; None keeps ``momentum``. Only of schedules that go by epochs."""
    warmup_bias_lr: float | None = None
    """Learning rate of biases at the start of warm-up, from which it falls; None is that of the weights."""
    parameter_groups: str = "plain"
    """Name in ``distill.train.optimizer.GROUPS``: which parameters have weight decay and which share of the rate."""
    epochs: int = 300
    closing_epochs: int = 15
    """Last epochs, without mosaic, mixup and the like."""
    ema_decay: float = 0.9998
    ema_updates: float = 2000.0
    """Updates after which the decay has reached 63 % of ``ema_decay``."""
    ema_start: int = 0
    """Updates counted before the first one; with -1 the first average is the model itself."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; None does not clip."""
    augmentation: str = "light"
    """A preset of ``distill.data.feed.presets``."""
    flip: float | None = None
    """Probability of a mirrored image; None is the preset's. 0 for digits, letters and signs."""
    mosaic: float | None = None
    """Probability of a mosaic; None is the preset's."""
    mixup: float | None = None
    """Probability of mixup; None is the preset's."""
    hue: float | None = None
    """Strength of the color jitter's hue, in the preset's unit; None is the preset's."""
    saturation: float | None = None
    """The same of its saturation."""
    value: float | None = None
    """The same of its brightness."""
    multi_scale: float | None = 0.0
    """Batches vary in size by up to this share of the input side, both ways; None is the preset's."""
    views: int = 0
    """Augmented views of each image, which repeat; 0 makes a new one in every epoch."""
    batch: int = 16
    """Images a step unless the command says otherwise."""
    accumulate: int = 1
    """Batches whose gradients are added before one step."""
    precision: str = "fp32"
    """On a GPU; on a CPU fp32 unless the command says otherwise."""
    channels_last: bool = False
    """Train channels-last on a CPU, which is faster and rounds differently; on a GPU always."""
    freeze_backbone_bn: bool = False
    """Freeze the batch-norm statistics of the backbone."""
    bn_calibration_images: int = 0
    """Training images a batch for calibrating the average's batch norms before it is evaluated and saved; 0 keeps the
    running statistics of training."""
    freeze_bn_from: float = 1.0
    """Share of the steps after which batch norms train with frozen statistics; 1 never freezes them. With
    ``bn_calibration_images`` they are calibrated once at that step."""

    def __post_init__(self) -> None:
        for name, known in (
            ("optimizer", OPTIMIZERS), ("precision", PRECISIONS), ("schedule", SCHEDULES),
            ("parameter_groups", PARAMETER_GROUPS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        check_number("lr", self.lr, 0.0, 10.0, above=True)
        check_number("loss_scale", self.loss_scale, 0.0, 65536.0, above=True)
        check_number("momentum", self.momentum, 0.0, 0.9999)
        for name in ("weight_decay", "backbone_lr", "final_lr"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        check_number("warmup_epochs", self.warmup_epochs, 0.0, MAX_EPOCHS)
        check_number("ema_decay", self.ema_decay, 0.0, 0.999999)
        check_number("ema_updates", self.ema_updates, 0.0, 1e9, above=True)
        for name, high in (("warmup_momentum", 0.9999), ("warmup_bias_lr", 10.0)):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0.0, high)
        if self.multi_scale is not None:
            check_number("multi_scale", self.multi_scale, 0.0, 0.9)
        for name, most in (*dict.fromkeys(CHANCES, 1.0).items(), *dict.fromkeys(COLORS, 255.0).items()):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0.0, most)
        check_number("freeze_bn_from", self.freeze_bn_from, 0.0, 1.0)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, 0.0, 1e6, above=True)
        for name, least, most in (
            ("epochs", 1, MAX_EPOCHS), ("closing_epochs", 0, MAX_EPOCHS), ("views", 0, MAX_EPOCHS), ("batch", 1, 4096),
            ("accumulate", 1, 1024), ("nominal_batch", 1, 65536),
            ("bn_calibration_images", 0, 65536), ("warmup_steps", 0, 1_000_000), ("ema_start", -1, 1_000_000),
        ):  # fmt: skip
            check_int(name, getattr(self, name), least, most)
        if fills_batch(self) and self.accumulate > 1:
            raise BadInput(
                f"accumulate {self.accumulate}: schedule {self.schedule} adds up batches to nominal_batch "
                f"{self.nominal_batch} by itself; leave accumulate at 1"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data: every field but the changes of the augmentation and the terms of official schedules that are not
        used.
        """
        unset = [name for name in (*CHANCES, *COLORS) if getattr(self, name) is None]
        unset += [name for name, usual in OFFICIAL_TERMS.items() if getattr(self, name) == usual]
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in unset}

    def preset(self) -> Preset:
        """The augmentation preset with this recipe's changes."""
        from distill.data.feed.presets import find_preset

        preset = find_preset(self.augmentation)
        if self.multi_scale is not None:
            preset = preset.with_sizes(self.multi_scale)
        changes = {name: getattr(self, name) for name in (*CHANCES, *COLORS)}
        return preset.changed({name: value for name, value in changes.items() if value is not None})


def recipe_names() -> list[str]:
    """Names of the recipes that ship."""
    files = [file.name for file in resources.files("distill.train.recipes").iterdir()]
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def load_recipe(
    text: str, changes: Mapping[str, Any] | None = None, family: str = "", model: str = ""
) -> TrainRecipe:
    """The recipe that ``text`` names (one that ships, or a YAML file), with some fields changed.

    ``official`` is that of ``family`` and ``model``; its name is then ``official/FAMILY/MODEL``, which is known too.
    """
    path = Path(text)
    if text.startswith(f"{OFFICIAL}/"):
        _, family, model = f"{text}/".split("/", 3)[:3]
        text = OFFICIAL
    if path.suffix in (".yaml", ".yml"):
        content, name = read_text(path, "recipe", MOST_BYTES), path.stem
    elif text == OFFICIAL:
        content, name = _official_text(family), "/".join(filter(None, (OFFICIAL, family, model)))
    elif text in recipe_names():
        file = resources.files("distill.train.recipes").joinpath(f"{text}.yaml")
        content, name = file.read_text(encoding="utf-8"), text
    else:
        raise unknown_name("recipe", text, [*recipe_names(), OFFICIAL])
    data = parse_yaml(content, f"recipe {text!r}")
    if not isinstance(data, dict):
        raise BadInput(f"recipe {text!r} must be a table of settings, not {type(data).__name__}")
    if text == OFFICIAL:
        models = data.pop("models", {})
        data |= models.get(model, {})
    return _build({**data, "name": name, **(changes or {})}, f"recipe {text!r}")


def official_families() -> list[str]:
    """Families with an official recipe."""
    files = [file.name for file in resources.files("distill.train.recipes").joinpath(OFFICIAL).iterdir()]
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def _official_text(family: str) -> str:
    """The official recipe file of a family."""
    if family not in official_families():
        known = ", ".join(official_families())
        raise BadInput(f"recipe {OFFICIAL!r} is that of a family: {family!r} has none; it is there for {known}")
    file = resources.files("distill.train.recipes").joinpath(f"{OFFICIAL}/{family}.yaml")
    return file.read_text(encoding="utf-8")


def _build(data: Mapping[str, Any], where: str) -> TrainRecipe:
    fields = {field.name for field in dataclasses.fields(TrainRecipe)}
    for key in data:
        if key not in fields:
            raise BadInput(f"{where}: unknown setting {key!r}; it has {', '.join(sorted(fields))}")
    try:
        return TrainRecipe(**data)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error


def parse_changes(words: list[str]) -> dict[str, Any]:
    """``key=value`` words as changes to a recipe; values are read as YAML scalars."""
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise BadInput(f"--set {word!r} must be KEY=VALUE, for instance lr=0.005")
        changes[key.strip()] = parse_yaml(value, f"--set {word!r}: {value!r} is not a value")
        if isinstance(changes[key.strip()], str):
            # YAML 1.1 reads 1e-3 as text
            try:
                changes[key.strip()] = float(value)
            except ValueError:
                changes[key.strip()] = value
    return changes


def default_recipe(family_recipe: str, images: int) -> str:
    """Name of the recipe for a number of training images and a family whose own recipe is ``family_recipe``."""
    return family_recipe if family_recipe and images >= SMALL_IMAGES else "small"
