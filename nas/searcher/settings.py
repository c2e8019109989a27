"""A search as the plain settings that its run folder keeps, and back."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.budgets import parse_budgets
from nas.searcher.method import SearchMethod
from nas.searcher.problem import SearchProblem, open_devices, open_space
from search_spaces.head import ADDED_HEAD_FIELDS
from search_spaces.neck import ADDED_NECK_FIELDS
from workbench.errors import BadInput


def search_settings(problem: SearchProblem, method: SearchMethod) -> dict[str, Any]:
    """Everything that an answer depends on; a run resumes only under equal settings."""
    settings: dict[str, Any] = {
        "budget": [str(budget) for budget in problem.budgets],
        "device": _one_or_all(problem.device_names),
        "space": problem.space_name,
        "space_digest": value_digest(problem.space),
        "device_digest": _one_or_all([value_digest(profile) for profile in problem.devices]),
        "strategy": method.strategy,
        "score": problem.score,
        "weights": list(problem.weights),
        "scope": problem.scope,
        "input_px": problem.input_px,
        "grid": problem.grid,
        "seed": problem.seed,
    }
    options = dataclasses.asdict(method.options)
    settings |= {name: options[name] for name in ("steps", "population") if name in options}
    if method.plan.islands:
        settings["islands"] = method.plan.islands
    changed = {name: value for name, value in method.options.changed().items() if name not in settings}
    if changed:
        settings["options"] = changed
    return settings


def problem_from_settings(settings: Mapping[str, Any]) -> SearchProblem:
    """The problem of a run from its stored settings; space and devices are loaded again by their names."""
    names = _listed(settings["device"])
    choices = itertools.product((None, settings["grid"]), (None, settings["input_px"]))
    spaces = (open_space(settings["space"], grid, input_px) for grid, input_px in choices)
    space = next((found for found in spaces if value_digest(found) == settings["space_digest"]), None)
    if space is None:
        raise BadInput(f"the space {settings['space']!r} has changed since the search: search again with --fresh")
    return SearchProblem(
        space=space,
        space_name=settings["space"],
        budgets=parse_budgets(settings["budget"]),
        devices=open_devices(names),
        device_names=tuple(names),
        score=settings["score"],
        weights=tuple(settings["weights"]),
        scope=settings["scope"],
        input_px=settings["input_px"],
        seed=settings["seed"],
    )


def default_name(settings: Mapping[str, Any]) -> str:
    """A run's folder name from its settings: readable, and different where an answer may differ."""
    space = settings["space"].replace("/", "_").removesuffix(".yaml")
    devices = "+".join(Path(name).stem for name in _listed(settings["device"])) or "nodevice"
    parts = [space, devices, *settings["budget"], settings["strategy"]]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:6]
    return "-".join(str(part).replace("/", "_").replace(":", "_") for part in parts) + f"-{digest}"


def _one_or_all(values: Sequence[str]) -> str | list[str] | None:
    """None, the one value, or the list."""
    return None if not values else values[0] if len(values) == 1 else list(values)


def _listed(value: str | list[str] | None) -> list[str]:
    """The inverse of ``_one_or_all``."""
    return [value] if isinstance(value, str) else list(value or ())


def value_digest(value: object) -> str:
    """A digest of a space or device profile: of all its fields, whatever its ``__repr__`` shows."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:12]


ADDED_FIELDS = {
    "Space": ("tail",),
    "StageChoices": ("others",),
    "DeviceProfile": ("reference_ms",),
    "Neck": ADDED_NECK_FIELDS,
    "Head": ADDED_HEAD_FIELDS,
}
"""Fields that runs of earlier versions were stored without: they count where they differ from their default."""


def _canonical(value: object) -> str:
    """The representation that dataclasses have by default, for nested ones too."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        added = ADDED_FIELDS.get(type(value).__qualname__, ())
        fields = ", ".join(
            f"{field.name}={_canonical(getattr(value, field.name))}"
            for field in dataclasses.fields(value)
            if field.name not in added or getattr(value, field.name) != field.default
        )
        return f"{type(value).__qualname__}({fields})"
    if isinstance(value, tuple):
        items = ", ".join(map(_canonical, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    return repr(value)
