"""``report.html`` of a search, from the files in its folder: the best, the front, where the milliseconds go."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from distill.report.page import Page
from nas.budgets import format_cost
from nas.report.latency_plot import Bar, latency_png
from workbench.doors.json import read_json_object
from workbench.doors.yaml import yaml_text
from workbench.errors import BadInput
from workbench.files import write_atomic
from workbench.run_folder import read_settings

NAMES = {"flops": "computation", "params": "parameters", "act_bytes": "activations", "layers": "backbone layers"}
"""Words for costs; a latency keeps its name."""
REPORT, LATENCY = "report.html", "latency.png"
POINTS = 12
"""Rows of the front in the table, evenly spaced, the best last."""
PICTURES = (
    ("front.png", "The front", "Score over the first budget's cost: the front, the best, the nearest published."),
    ("best.png", "The best architecture", "Stages of the backbone, neck and head with their costs."),
    ("data.png", "Boxes of the data", "Sizes of the boxes beside the cells of the levels."),
    ("trained.png", "Trained finalists", "AP after training over cost, beside stock models."),
)
"""File of a run folder, heading and caption."""


def is_search(folder: Path) -> bool:
    """Whether the folder holds a finished search."""
    return (folder / "best.yaml").is_file() and (folder / "result.json").is_file()


def write_search_report(folder: Path) -> Path:
    """Write ``report.html``, and ``latency.png`` where latency was searched for, into a search's folder."""
    result, settings = _result(folder), read_settings(folder)
    page = _opening(folder, result, settings)
    for name, title, caption in PICTURES[:1]:
        _picture(page, folder / name, title, caption)
    _front(page, result)
    for name, title, caption in PICTURES[1:]:
        _picture(page, folder / name, title, caption)
    _milliseconds(page, folder, result, settings)
    page.section("Settings")
    page.folded("All settings", yaml_text(settings))
    write_atomic(folder / REPORT, page.html())
    return folder / REPORT


def _result(folder: Path) -> dict[str, Any]:
    file = folder / "result.json"
    result = read_json_object(file, "result")
    if {"best", "front", "candidates"} <= result.keys():
        return result
    raise BadInput(f"{str(file)!r} is not the result of a search: name a run of nas search, nas train or nas distill")


def _side(result: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Input side in pixels of the best: its own, or in older runs the search's."""
    return result["best"]["architecture"].get("input_px") or settings.get("input_px")


def _opening(folder: Path, result: dict[str, Any], settings: dict[str, Any]) -> Page:
    best, anchor, certificate = result["best"], result["anchor"], result["certificate"]
    proof = "not proved best: a strategy that samples proves nothing"
    if certificate is not None:
        proof = "proved best" if certificate["proved"] else "not proved best within the time limit"
    lead = (
        f"The best of space {settings.get('space')} by score {settings.get('score')} within "
        f"{' and '.join(map(str, settings.get('budget', [])))}, at {_side(result, settings)} px: {proof}. "
        f"{result['candidates']:,} candidates in {result['seconds']:.1f} s."
    )
    page = Page(folder.resolve().name, lead)
    page.figures({
        f"score {settings.get('score')}": f"{best['score']:.5g}",
        **{_word(name): format_cost(name, value) for name, value in best["costs"].items()},
    })  # fmt: skip
    if anchor is not None:
        costs = ", ".join(format_cost(name, value) for name, value in anchor["costs"].items())
        page.text(f"Nearest published: {anchor['name']} with score {anchor['score']:.5g} ({costs}).")
    page.section("What to do next")
    page.commands(_next_commands(folder, settings))
    return page


def _next_commands(folder: Path, settings: dict[str, Any]) -> list[tuple[str, str]]:
    run, device = shlex.quote(str(folder)), settings.get("device")
    name = device if isinstance(device, str) else ",".join(map(str, device or []))
    on = f" --device {shlex.quote(name)}" if name else ""
    return [
        ("Train it on your data", f"nas train {run} --data MY-DATA"),
        ("Or with a teacher", f"nas distill {run} --teacher TEACHER.safetensors --data MY-DATA"),
        ("Look at its stages", f"nas show {run}{on}"),
        ("Compare with published detectors", f"nas compare {run}{on}"),
    ]


def _picture(page: Page, file: Path, title: str, caption: str) -> None:
    """A picture of the folder under its heading, if it is there."""
    if file.is_file():
        page.section(title)
        page.picture(file.read_bytes(), title, caption)


def _front(page: Page, result: dict[str, Any]) -> None:
    """Some of the front, cheapest first."""
    front = result["front"]
    count = min(POINTS, len(front))
    chosen = [front[round(i * (len(front) - 1) / max(count - 1, 1))] for i in range(count)]
    names = [name for name in chosen[-1] if name not in ("rank", "score", "digest", "row")]
    rows = [[str(line["rank"]), line["score"], *(format_cost(name, line[name]) for name in names)] for line in chosen]
    page.table(["place", "score", *map(_word, names)], rows)
    if len(front) > count:
        page.text(f"{count} of {len(front):,} architectures; all are in front.csv.")


def _word(cost: str) -> str:
    """A cost as the page names it: ``latency_ms@t4`` is ``latency on t4``."""
    name, _, device = cost.partition("@")
    return NAMES.get(name, name.removesuffix("_ms")) + (f" on {device}" if device else "")


def _milliseconds(page: Page, folder: Path, result: dict[str, Any], settings: dict[str, Any]) -> None:
    """Latency by part and by layer of the best and the nearest published detector, on the devices searched for."""
    from nas.devices.find_network import find_network
    from nas.devices.prediction import predict_latencies
    from nas.devices.profile import load_device

    device = settings.get("device")
    names = [device] if isinstance(device, str) else list(device or [])
    if not names or settings.get("scope") != "detector":
        return
    anchor = result["anchor"]
    px = _side(result, settings)
    networks = [find_network(str(folder / "best.yaml"), px)]
    networks += [] if anchor is None else [find_network(anchor["name"], px)]
    profiles = [load_device(name) for name in names]
    predictions = predict_latencies(networks, profiles).predictions
    bars: dict[str, list[Bar]] = {profile.name: [] for profile in profiles}
    for prediction in predictions:
        interval = prediction.interval
        bounds = None if interval is None else (interval.low_ms, interval.high_ms)
        layers = [(layer.name, layer.part, layer.ms) for layer in prediction.layers]
        bars[prediction.device].append(Bar(prediction.model, prediction.parts_ms, bounds, layers))
    image = latency_png(bars)
    write_atomic(folder / LATENCY, image)
    page.section("Where the milliseconds go")
    caption = "Left: by part, with the 90 % interval. Right: the costliest layers."
    page.picture(image, "Latency by part and by layer", caption)
