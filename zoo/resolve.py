"""From what a person typed to something a ruler can read: an architecture, any Graph, or a detector.

``X`` in ``nas show X``, ``nas score X`` and ``nas cost X`` may be an architecture YAML, a study folder
or its ``best.yaml``, a TinyNAS text, an ONNX file, a graph JSON, one of our checkpoints, or a model of the zoo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.architecture import Architecture
from search_spaces.graph import Graph
from search_spaces.lowering import lower, skeleton
from workbench.errors import BadInput, missing_package

if TYPE_CHECKING:
    from zoo.detector import Detector


@dataclass(frozen=True)
class CostSubject:
    """One thing to measure: ``arch`` where it is one of ours, else a ``detector`` of the zoo or a ``whole`` graph."""

    name: str
    arch: Architecture | None = None
    whole: Graph | None = None
    detector: Detector | None = None

    def graph(self, scope: str = "detector", input_px: int = 640) -> Graph:
        """Deploy-form graph; a bare backbone answers only for ``scope="backbone"``. Zoo models are traced at ``input_px``."""
        if self.arch is not None:
            return lower(self.arch, scope)
        found = self.detector.graph(input_px) if self.detector is not None else self.whole
        assert found is not None
        if scope == "backbone" and any(op.part for op in found):
            return found.only_part("backbone")
        return found

    def default_scope(self) -> str:
        """The whole detector where there is one."""
        return "backbone" if self.arch is not None and self.arch.neck is None else "detector"

    def score_graph(self, input_px: int, deployed: bool = False) -> tuple[Graph, int]:
        """The graph that scores are defined on (``deployed``: the whole network), and the input side (pixels) it sees."""
        if deployed:
            whole = self.graph(self.default_scope(), input_px)
            return whole, whole.fixed_px[0] if whole.fixed_px else input_px
        if self.arch is None:
            whole = self.graph("backbone", input_px)
            return whole, whole.fixed_px[0] if whole.fixed_px else input_px
        return skeleton(self.arch), input_px // 2 if self.arch.stem.focus else input_px


def resolve_subject(text: str, scope: str = "detector") -> CostSubject:
    """Find out what ``text`` names. ``scope`` is what the caller will ask for; kept for error texts."""
    from search_spaces.published import PUBLISHED

    if text.lower() in PUBLISHED:
        return CostSubject(text.lower(), PUBLISHED[text.lower()])
    path = Path(text)
    if path.is_dir():
        path = path / "best.yaml"
        if not path.is_file():
            raise BadInput(f"{text!r} is a folder without best.yaml: is it a finished study?")
    if not path.is_file():
        if path.suffix or "/" in text:
            raise BadInput(f"no such file: {text!r}")
        from zoo.families.card import find_card

        return _zoo_model(find_card(text).model)
    if path.suffix == ".safetensors":
        detector = _load(path)
        if detector.recipe.architecture is not None:
            return CostSubject(path.stem, detector.recipe.architecture)
        return CostSubject(path.stem, detector=detector)
    if path.suffix == ".onnx":
        from zoo.graphs.from_onnx import read_onnx

        return CostSubject(path.stem, whole=read_onnx(path))
    if path.suffix in (".yaml", ".yml"):
        arch = Architecture.load(path)
        return CostSubject(arch.name or path.parent.name if path.stem == "best" else path.stem, arch)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {text!r} as YAML, TinyNAS text, graph JSON or ONNX: {error}") from error
    if path.suffix == ".json":
        try:
            return CostSubject(path.stem, whole=Graph.from_json(json.loads(content)))
        except json.JSONDecodeError as error:
            raise BadInput(f"{text!r}: not JSON: {error}") from error
    from search_spaces.tinynas_text import parse

    return CostSubject(path.stem, parse(content, where=text))


def resolve_detector(text: str, seed: int = 0) -> tuple[Detector, bool]:
    """The detector that ``text`` names, in evaluation mode, and whether its weights are trained.

    One of our checkpoints, or an architecture or model name with fresh weights drawn from ``seed``.
    """
    if Path(text).suffix == ".safetensors":
        return _load(text), True
    if Path(text).suffix in (".pt", ".pth", ".npz"):
        raise BadInput(f"{text!r} is not in this workbench's format: bring it in with nas zoo import {text}")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_package("a detector", error.name, "torch") from error
    from zoo.detector import Recipe
    from zoo.families import build_recipe

    subject = resolve_subject(text)
    torch.manual_seed(seed)
    if subject.arch is not None:
        head = subject.arch.head
        if head is None:
            raise BadInput(f"{text!r} is a bare backbone: a detector needs neck and head")
        return build_recipe(Recipe(subject.name, head.classes, subject.arch)).eval(), False
    if subject.detector is None:
        raise BadInput(f"{text!r} is only a graph: give a checkpoint (.safetensors), an architecture or a model of nas zoo")
    return build_recipe(subject.detector.recipe).eval(), False


def _load(path: str | Path) -> Detector:
    """One of our checkpoints."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("opening a checkpoint", error.name, "torch") from error
    from zoo.weights.checkpoint import load

    return load(path)


def _zoo_model(name: str) -> CostSubject:
    """A model with fixed sizes, on the meta device: enough for every ruler."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_package(f"measuring {name}", error.name, "torch") from error
    from zoo.families import build

    with torch.device("meta"):
        return CostSubject(name, detector=build(name))
