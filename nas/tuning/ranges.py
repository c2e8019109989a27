"""The settings that vary in a study: text (``lr=log:1e-4..1e-2``) or a YAML file, checked by the recipe's own rules."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.train.recipe import TrainRecipe
from workbench.doors.yaml import read_yaml
from workbench.errors import BadInput, unknown_name

if TYPE_CHECKING:
    import optuna

SHARE = "share"
"""The one setting that is not the recipe's: the share of the teachers' losses."""

FIXED = {
    "name": "it is no setting of training",
    "source": "it is no setting of training",
    "epochs": "--epochs says how long a trial is, and trials of different lengths cannot be compared",
    "precision": "--precision is for the machine",
}
"""Fields of a recipe that do not vary, and why."""

DEFAULT_FACTOR = 10.0
"""Without ``--vary``, learning rate and weight decay vary by this factor up and down."""


@dataclass(frozen=True)
class Range:
    """One setting: ``choices``, or from ``low`` to ``high`` (both int or both float), linear or on a ``log`` scale."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be valid for all others to be."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: optuna.Trial) -> Any:
        """The trial's value: the one it has already, or a new one by the study's sampler."""
        if self.choices:
            return trial.suggest_categorical(self.name, list(self.choices))
        if isinstance(self.low, int):
            return trial.suggest_int(self.name, self.low, int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def text(self) -> str:
        """As ``--vary`` takes it."""
        if self.choices:
            return f"{self.name}={','.join(map(str, self.choices))}"
        return f"{self.name}={'log:' if self.log else ''}{self.low}..{self.high}"


def read_ranges(vary: Sequence[str], file: str | None, recipe: TrainRecipe, has_teacher: bool) -> tuple[Range, ...]:
    """The ranges of ``vary`` and ``file``, or the default ones without either; the ends are checked on ``recipe``."""
    if vary or file is not None:
        texts = [*_read_file(file), *(_split(text) for text in vary)]
    else:
        texts = _default_ranges(recipe)
    ranges: dict[str, Range] = {}
    for name, text in texts:
        if name in ranges:
            raise BadInput(f"--vary {name} is given twice: give it one range")
        ranges[name] = _parse(name, text, has_teacher)
        _check_ends(ranges[name], recipe)
    return tuple(ranges.values())


def _split(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals or not name.strip() or not values.strip():
        examples = "lr=log:1e-4..1e-2, batch=8,16 or warmup_epochs=1..5"
        raise BadInput(f"--vary {text!r} must be KEY=RANGE, for instance {examples}")
    return name.strip(), values.strip()


def _read_file(file: str | None) -> list[tuple[str, str]]:
    """Settings and ranges of a YAML file: ``lr: log:1e-4..1e-2``, or a list of choices."""
    if file is None:
        return []
    data = read_yaml(file, "ranges")
    if not isinstance(data, dict) or not data:
        raise BadInput(f"{file!r} must be a mapping of settings to ranges, for instance lr: log:1e-4..1e-2")
    return [
        (str(key), ",".join(map(str, value)) if isinstance(value, list) else str(value)) for key, value in data.items()
    ]


def _default_ranges(recipe: TrainRecipe) -> list[tuple[str, str]]:
    texts = []
    for name in ("lr", "weight_decay"):
        value = float(getattr(recipe, name))
        if value > 0:
            low, high = value / DEFAULT_FACTOR, min(value * DEFAULT_FACTOR, 1.0)
            texts.append((name, f"log:{low:.6g}..{high:.6g}"))
    return texts


def _parse(name: str, text: str, has_teacher: bool) -> Range:
    """One range from its text."""
    kind = _kind_of(name, has_teacher)
    log = text.startswith("log:")
    low_text, dots, high_text = text.removeprefix("log:").partition("..")
    if not dots:
        if log:
            raise BadInput(f"--vary {name}={text}: log: stands before a range, for instance log:1e-4..1e-2")
        choices = tuple(_parse_value(name, value.strip(), kind) for value in text.split(","))
        if len(set(choices)) < 2:
            way_out = f"give a range LOW..HIGH, several values A,B, or --set {name}={text}"
            raise BadInput(f"--vary {name}={text} leaves no choice: {way_out}")
        return Range(name, choices=choices)
    if kind in ("str", "bool"):
        raise BadInput(f"--vary {name}={text}: {name} has no order; list its values, {name}=A,B")
    low, high = _parse_value(name, low_text.strip(), kind), _parse_value(name, high_text.strip(), kind)
    if not low < high:
        raise BadInput(f"--vary {name}={text}: {low_text} must be below {high_text}")
    if log and low <= 0:
        raise BadInput(f"--vary {name}={text}: a logarithmic range begins above 0")
    return Range(name, low, high, log)


def _kind_of(name: str, has_teacher: bool) -> str:
    """The type of a setting, as the recipe's field states it."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(TrainRecipe) if field.name not in FIXED}
    if has_teacher:
        kinds[SHARE] = "float"
    if name in FIXED:
        raise BadInput(f"--vary {name}: {FIXED[name]}")
    if name == SHARE and not has_teacher:
        raise BadInput(f"--vary {SHARE} is the share of a teacher's losses: add --teacher")
    if name not in kinds:
        raise unknown_name("setting of training", name, kinds)
    return kinds[name]


def _parse_value(name: str, text: str, kind: str) -> Any:
    """A value of a field's type."""
    if kind == "str":
        return text
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise BadInput(f"--vary {name}: {text!r} must be true or false")
        return text.lower() == "true"
    if kind.endswith("None") and text.lower() in ("none", "null"):
        return None
    try:
        number = int(text) if kind == "int" else float(text)
    except ValueError as error:
        raise BadInput(f"--vary {name}: {text!r} must be a {'whole ' if kind == 'int' else ''}number") from error
    if not math.isfinite(number):
        raise BadInput(f"--vary {name}: {text!r} must be finite")
    return number


def _check_ends(varied: Range, recipe: TrainRecipe) -> None:
    """Refuse a range with an end that the recipe refuses."""
    from distill.data.feed.presets import find_preset

    for value in varied.ends:
        try:
            if varied.name == SHARE:
                if not 0 < value < 1:
                    raise BadInput(f"share {value} must be between 0 and 1")
            else:
                dataclasses.replace(recipe, **{varied.name: value})
                if varied.name == "augmentation":
                    find_preset(value)
        except BadInput as error:
            raise BadInput(f"--vary {varied.text()}: {error}") from error


def to_changes(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Values of a trial as ``--set`` takes them, without ``share``; floats to the last digit."""

    def text(value: Any) -> str:
        return "null" if value is None else value if isinstance(value, str) else repr(value)

    return tuple(f"{name}={text(value)}" for name, value in values.items() if name != SHARE)
