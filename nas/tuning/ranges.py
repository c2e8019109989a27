"""What may vary in a study, as words (``lr=log:1e-4..1e-2``) or a YAML file, checked against the recipe's own rules."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from distill.train.recipe import TrainRecipe
from workbench.errors import BadInput, unknown_name

if TYPE_CHECKING:
    import optuna

SHARE = "share"
"""The one setting that is not the recipe's: how much the teachers' losses count."""

FIXED = {
    "name": "it is no setting of training",
    "source": "it is no setting of training",
    "epochs": "--epochs says how long a trial is, and trials of different lengths cannot be compared",
    "precision": "--precision is for the machine",
}
"""Fields of a recipe that do not vary, and why."""

DEFAULT_FACTOR = 10.0
"""Without ``--vary``: the recipe's rate and weight decay, this much up and down."""


@dataclass(frozen=True)
class Range:
    """One setting: ``choices``, or from ``low`` to ``high`` (both whole numbers or both not), on a ``log`` scale or evenly."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed for all others to be."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: optuna.Trial) -> Any:
        """This trial's value: the one it has already, or a new one by the study's sampler."""
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


def read_ranges(words: Sequence[str], file: str | None, recipe: TrainRecipe, taught: bool) -> tuple[Range, ...]:
    """What may vary by the words, the file, or where there is neither by default; every end is tried on ``recipe``."""
    texts = [*_lines(file), *(_split(word) for word in words)] if words or file is not None else _default(recipe)
    found: dict[str, Range] = {}
    for name, text in texts:
        if name in found:
            raise BadInput(f"--vary {name} is given twice: give it one range")
        found[name] = _range(name, text, taught)
        _try(found[name], recipe)
    return tuple(found.values())


def _split(word: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not equals or not name.strip() or not text.strip():
        raise BadInput(f"--vary {word!r} must be KEY=RANGE, for instance lr=log:1e-4..1e-2, batch=8,16 or warmup_epochs=1..5")
    return name.strip(), text.strip()


def _lines(file: str | None) -> list[tuple[str, str]]:
    """Settings and ranges of a YAML file: ``lr: log:1e-4..1e-2``, or a list of choices."""
    if file is None:
        return []
    try:
        data = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"cannot read the ranges in {file!r}: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or not data:
        raise BadInput(f"{file!r} must be a table of settings and ranges, for instance lr: log:1e-4..1e-2")
    return [(str(key), ",".join(map(str, value)) if isinstance(value, list) else str(value)) for key, value in data.items()]


def _default(recipe: TrainRecipe) -> list[tuple[str, str]]:
    found = []
    for name in ("lr", "weight_decay"):
        value = float(getattr(recipe, name))
        if value > 0:
            found.append((name, f"log:{value / DEFAULT_FACTOR:.6g}..{min(value * DEFAULT_FACTOR, 1.0):.6g}"))
    return found


def _range(name: str, text: str, taught: bool) -> Range:
    """One range out of its text."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(TrainRecipe) if field.name not in FIXED}
    if taught:
        kinds[SHARE] = "float"
    if name in FIXED:
        raise BadInput(f"--vary {name}: {FIXED[name]}")
    if name == SHARE and not taught:
        raise BadInput(f"--vary {SHARE} is how much a teacher counts: add --teacher")
    if name not in kinds:
        raise unknown_name("setting of training", name, kinds)
    kind = kinds[name]
    log = text.startswith("log:")
    low, dots, high = text.removeprefix("log:").partition("..")
    if not dots:
        if log:
            raise BadInput(f"--vary {name}={text}: log: stands before a range, for instance log:1e-4..1e-2")
        choices = tuple(_value(name, word.strip(), kind) for word in text.split(","))
        if len(set(choices)) < 2:
            raise BadInput(f"--vary {name}={text} leaves no choice: give a range LOW..HIGH, several values A,B, or --set {name}={text}")
        return Range(name, choices=choices)
    if kind in ("str", "bool"):
        raise BadInput(f"--vary {name}={text}: {name} has no order; list its values, {name}=A,B")
    least, most = _value(name, low.strip(), kind), _value(name, high.strip(), kind)
    if not least < most:
        raise BadInput(f"--vary {name}={text}: {low} must be below {high}")
    if log and least <= 0:
        raise BadInput(f"--vary {name}={text}: a logarithmic range begins above 0")
    return Range(name, least, most, log)


def _value(name: str, text: str, kind: str) -> Any:
    """A value of a field's kind."""
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


def _try(one: Range, recipe: TrainRecipe) -> None:
    """Refuse a range with an end that the recipe refuses."""
    from distill.data.feed.presets import find_preset

    for value in one.ends:
        try:
            if one.name == SHARE:
                if not 0 < value < 1:
                    raise BadInput(f"share {value} must be between 0 and 1")
            else:
                dataclasses.replace(recipe, **{one.name: value})
                if one.name == "augmentation":
                    find_preset(value)
        except BadInput as error:
            raise BadInput(f"--vary {one.text()}: {error}") from error


def changes(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Values of a trial as ``--set`` takes them, ``share`` aside; floats to the last digit."""
    def text(value: Any) -> str:
        return "null" if value is None else value if isinstance(value, str) else repr(value)

    return tuple(f"{name}={text(value)}" for name, value in values.items() if name != SHARE)
