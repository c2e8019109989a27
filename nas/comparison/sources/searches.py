"""Rows of a finished search: its best candidate and the next ones of its front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.comparison.rows import SEARCHED, ComparisonRow
from nas.comparison.sources.costs import compared_costs
from nas.comparison.sources.files import read_json, read_yaml
from nas.comparison.sources.models import nms_of_architecture
from nas.devices.profile import DeviceProfile
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from workbench.errors import BadInput


def search_rows(folder: Path, top: int, profiles: Sequence[DeviceProfile]) -> list[ComparisonRow]:
    """The best of a finished search, and the next of its front up to ``top``."""
    file = folder / "result.json"
    if not file.is_file():
        raise BadInput(_not_a_run(folder))
    data = read_json(file)
    try:
        best = data["best"]
        arch, score = Architecture.from_dict(best["architecture"]), float(best["score"])
        seconds = float(data["seconds"])
        proved = bool((data["certificate"] or {}).get("proved"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadInput(f"{str(file)!r} is not the result of a search ({reason}): search again with --fresh") from error
    settings_file = folder / "settings.yaml"
    settings = read_yaml(settings_file) if settings_file.is_file() else {}
    px = settings.get("input_px", 640)
    if type(px) is not int or px < 64 or px % 32:
        raise BadInput(f"{str(settings_file)!r}: input_px {px!r} must be a multiple of 32 of at least 64")
    name = folder.resolve().name
    how = f"{settings.get('strategy', 'search')} in space {settings.get('space', '?')}, {seconds:.1f} s"
    search = ("search", how + (", proved best" if proved else ""))
    score_fact = ("zero-shot score", f"{score:.6g} ({settings.get('score', '?')})")
    rows = [_candidate_row(name, arch, px, profiles, [search, score_fact])]
    for place, path in enumerate(sorted((folder / "top").glob("*.yaml"))[1:top], start=2):
        place_fact = ("place", f"{place} of the front by zero-shot score")
        candidate = Architecture.load(path)
        rows.append(_candidate_row(f"{name} #{place}", candidate, px, profiles, [search, place_fact]))
    return rows


def _not_a_run(folder: Path) -> str:
    if (folder / "control.json").is_file():
        return f"{str(folder)!r} holds several trainings: name those to compare, below {str(folder / 'control')!r}"
    needed = "neither result.json (a finished search) nor best.safetensors (a training)"
    return f"{str(folder)!r} holds {needed}: name a finished run, a model or a file"


def _candidate_row(
    name: str, arch: Architecture, px: int, profiles: Sequence[DeviceProfile], facts: Sequence[tuple[str, str]]
) -> ComparisonRow:
    if arch.head is None:
        way_out = "only whole detectors are compared; search without --scope backbone"
        raise BadInput(f"{name!r} is a bare backbone: {way_out}")
    px = arch.input_px or px  # a find of a space with several sides has its own
    costs = compared_costs(lower(arch), px, profiles)
    return ComparisonRow(
        name=name,
        kind=SEARCHED,
        family="searched",
        input_px=px,
        params=costs.params,
        flops=costs.flops,
        nms=nms_of_architecture(arch),
        licence="yours",
        values=costs.values,
        source="search",
        digest=arch.digest(),
        facts=tuple(facts),
    )
