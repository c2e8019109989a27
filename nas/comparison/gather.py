"""Rows from what a person names: runs of searches and trainings, checkpoints, models of the zoo, any network file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nas.comparison.checkpoints import checkpoint_row, is_training
from nas.comparison.costs import compared_costs
from nas.comparison.measurements import attach, bench_measurements, run_measurements
from nas.comparison.rows import (
    COST,
    GIVEN,
    PREDICTED,
    PUBLISHED,
    SEARCHED,
    ZOO,
    Accuracy,
    Axis,
    Comparison,
    ComparisonRow,
    Series,
)
from nas.comparison.run_files import read_json, read_yaml
from nas.devices.interval import interval_ms
from nas.devices.profile import DeviceProfile, load_device
from search_spaces.architecture import Architecture
from search_spaces.lowering import lower
from search_spaces.published import PUBLISHED as OWN_STYLE
from workbench.errors import BadInput, missing_package
from zoo.families.card import Card, find_card, load_cards

Say = Callable[[str], None]
COSTS = (Axis("flops", COST, "GFLOPs", "GFLOPs", "2 a multiply-accumulate, folded"), Axis("params", COST, "parameters", "M", "folded"))
NOTHING = "–"


def compare(
    named: Sequence[str], devices: Sequence[str], *, only: Sequence[str] | None = None, bench: Sequence[str] = (), top: int = 1,
    log: Say = lambda text: None,
) -> Comparison:  # fmt: skip
    """Everything that was ``named`` and the zoo's rivals, costed on every device.

    ``only`` are families and models of the zoo to take part (None: all, empty: none); ``bench`` are files that
    ``nas bench --json`` printed; ``top`` is how many candidates of each search take part.
    """
    if top < 1:
        raise BadInput(f"--top {top} must be at least 1: so many candidates of each search take part")
    profiles = [load_device(name) for name in dict.fromkeys(devices)]
    taken = {axis.key for axis in COSTS}
    for profile in profiles:
        if profile.name in taken:
            raise BadInput(f"the name {profile.name!r} of a device profile is taken: give it another in its file")
        taken.add(profile.name)
    benches = [bench_measurements(file) for file in bench]
    rows: list[ComparisonRow] = []
    measurements = list(benches)
    for text in named:
        log(f"reading {text}")
        path = Path(text)
        if path.is_dir() and not is_training(path):
            rows += _search(path, top, profiles)
            measurements += [measured for measured in (run_measurements(path),) if measured is not None]
            continue
        row = checkpoint_row(path, profiles) if path.is_dir() or path.suffix == ".safetensors" else _given(text, profiles)
        rows.append(dataclasses.replace(row, named=text))
    have = {row.name for row in rows if row.kind == ZOO}
    for card in _rivals(only):
        if card.model not in have:
            log(f"measuring {card.model}")
            rows.append(_card(card, profiles))
    if not rows:
        raise BadInput("nothing to compare: name runs or models, or leave --no-zoo out")
    rows = _told_apart(rows)
    rows, axes, lost = attach(rows, measurements)
    return Comparison(tuple(rows), (*(_axis(p) for p in profiles), *axes, *COSTS), _series(rows), tuple(lost))


def _axis(profile: DeviceProfile) -> Axis:
    interval = interval_ms(profile, 1.0)
    meaning = "no interval, for the profile states no error" if interval is None else f"interval: {interval.meaning}"
    return Axis(profile.name, PREDICTED, profile.name, "ms", f"{profile.hardware}; {profile.runtime}; {profile.precision}, batch {profile.batch}. {meaning}")


def _series(rows: Sequence[ComparisonRow]) -> tuple[Series, ...]:
    """The published series first, then one a validation set, in order of appearance."""
    found: dict[str, Series] = {}
    met: dict[str, int] = {}
    if any(row.accuracy and row.accuracy.series == PUBLISHED for row in rows):
        found[PUBLISHED] = Series(PUBLISHED, "published AP on COCO", "as the authors publish it for their own weights; each model's source stands in its notes")
    for row in rows:
        if row.accuracy and row.accuracy.budget and row.accuracy.series not in found:
            data = row.accuracy.budget.data
            met[data] = met.get(data, 0) + 1
            found[row.accuracy.series] = Series(row.accuracy.series, f"own AP on {data}" + (f" ({met[data]})" if met[data] > 1 else ""), "of weights trained here, on the data's validation pictures; the best epoch was chosen on the same pictures, which flatters it a little")
    return tuple(found.values())


def _rivals(only: Sequence[str] | None) -> Iterable[Card]:
    """Cards of the families and models asked for, in the order of the zoo."""
    cards = load_cards()
    if only is None:
        return cards.values()
    wanted: set[str] = set()
    for name in only:
        wanted |= {card.model for card in cards.values() if card.family == name} or {find_card(name).model}
    return [card for card in cards.values() if card.model in wanted]


def _card(card: Card, profiles: Sequence[DeviceProfile]) -> ComparisonRow:
    """A rival as its card has it, costed at its published input side."""
    facts = [("published", f"{card.params_m:g} M parameters, {card.gflops:g} GFLOPs at {card.input_px} px"), ("source", card.source)]
    facts += [("note", card.note)] if card.note else []
    for one in card.latencies:
        facts.append((f"published on {one.device}", f"{one.ms:g} ms; {one.runtime}; {one.source}" + (f"; {one.note}" if one.note else "")))
    facts.append(("code", card.code_licence))
    accuracy = Accuracy(card.ap, PUBLISHED, card.source, card.note)
    if card.model in OWN_STYLE:
        arch = OWN_STYLE[card.model]
        costs, digest, nms = compared_costs(lower(arch), card.input_px, profiles), arch.digest(), arch_nms(arch)
    else:
        try:
            import torch
        except ModuleNotFoundError as error:
            raise missing_package(f"measuring {card.model} (--only damo-yolo needs none)", error.name, "torch") from error
        from zoo.factory import build

        with torch.device("meta"):
            detector = build(card.model)
        costs, digest = compared_costs(detector.graph(card.input_px), card.input_px, profiles), ""
        nms = "none" if detector.end2end else "needed"
    return ComparisonRow(card.model, ZOO, card.family, card.input_px, costs.params, costs.flops, nms, card.weights_licence, costs.values, accuracy, "zoo", digest, tuple(facts))


def arch_nms(arch: Architecture) -> str:
    """Whether a detector of ours needs suppression."""
    return "none" if arch.head is not None and arch.head.one_to_one else "needed"


def _search(folder: Path, top: int, profiles: Sequence[DeviceProfile]) -> list[ComparisonRow]:
    """The best of a finished search, and the next of its front up to ``top``."""
    file = folder / "result.json"
    if not file.is_file():
        if (folder / "control.json").is_file():
            raise BadInput(f"{str(folder)!r} holds several trainings: name those to compare, below {str(folder / 'control')!r}")
        raise BadInput(f"{str(folder)!r} holds neither result.json (a finished search) nor best.safetensors (a training): name a finished run, a model or a file")
    data = read_json(file)
    try:
        best = data["best"]
        arch, score = Architecture.from_dict(best["architecture"]), float(best["score"])
        seconds = float(data["seconds"])
        proved = bool((data["certificate"] or {}).get("proved"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{str(file)!r} is not the result of a search ({type(error).__name__}: {error}): search again with --fresh") from error
    settings = _settings(folder)
    px = settings.get("input_px", 640)
    if type(px) is not int or px < 64 or px % 32:
        raise BadInput(f"{str(folder / 'settings.yaml')!r}: input_px {px!r} must be a multiple of 32 of at least 64")
    name = folder.resolve().name
    how = f"{settings.get('strategy', 'search')} in space {settings.get('space', '?')}, {seconds:.1f} s" + (", proved best" if proved else "")
    rows = [_found(name, arch, px, profiles, [("search", how), ("zero-shot score", f"{score:.6g} ({settings.get('score', '?')})")])]
    for place, path in enumerate(sorted((folder / "top").glob("*.yaml"))[1:top], start=2):
        rows.append(_found(f"{name} #{place}", Architecture.load(path), px, profiles, [("search", how), ("place", f"{place} of the front by zero-shot score")]))
    return rows


def _settings(folder: Path) -> dict[str, object]:
    return read_yaml(folder / "settings.yaml") if (folder / "settings.yaml").is_file() else {}


def _found(name: str, arch: Architecture, px: int, profiles: Sequence[DeviceProfile], facts: list[tuple[str, str]]) -> ComparisonRow:
    if arch.head is None:
        raise BadInput(f"{name!r} is a bare backbone: only whole detectors are compared; search without --scope backbone")
    costs = compared_costs(lower(arch), px, profiles)
    return ComparisonRow(name, SEARCHED, "searched", px, costs.params, costs.flops, arch_nms(arch), "yours", costs.values, None, "search", arch.digest(), tuple(facts))


def _given(text: str, profiles: Sequence[DeviceProfile]) -> ComparisonRow:
    """A model of the zoo by name, or a network in a file."""
    path = Path(text)
    if not path.exists() and not path.suffix and "/" not in text:
        return _card(find_card(text), profiles)
    if path.suffix in (".pt", ".pth", ".npz"):
        raise BadInput(f"{text!r} is not in this workbench's format: bring it in with nas zoo import {text}")
    from nas.devices.runtimes import find_network

    network = find_network(text)
    costs = compared_costs(network.graph, network.table_px, profiles)
    arch = Architecture.load(path) if path.suffix in (".yaml", ".yml") else None
    if arch is not None and arch.head is None:
        raise BadInput(f"{text!r} is a bare backbone: only whole detectors are compared")
    facts = [("file", path.name), ("input", f"{network.size[0]} × {network.size[1]} px")]
    unknown = network.graph.meta.get("unknown_ops")
    if unknown:
        facts.append(("warning", f"ops that the profiles do not know, costed as memory traffic: {', '.join(map(str, unknown))}"))
    nms = NOTHING if arch is None else arch_nms(arch)
    return ComparisonRow(network.name or path.stem, GIVEN, "given", network.size[0], costs.params, costs.flops, nms, "yours", costs.values, None, "file", "" if arch is None else arch.digest(), tuple(facts))


def _told_apart(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Rows with names of their own: a second one of a name is numbered."""
    seen: dict[str, int] = {}
    named = []
    for row in rows:
        seen[row.name] = seen.get(row.name, 0) + 1
        named.append(row if seen[row.name] == 1 else dataclasses.replace(row, name=f"{row.name} ({seen[row.name]})"))
    return named
