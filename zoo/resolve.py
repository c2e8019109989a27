"""From a model's name or file to an architecture, a graph or a detector.

``X`` in ``nas show X``, ``nas score X`` and ``nas cost X`` may be an architecture YAML, a run folder or its
``best.yaml``, a TinyNAS text, an ONNX file, a graph JSON, one of our checkpoints, or a model of the zoo.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.architecture import Architecture
from search_spaces.graph import DEFAULT_PX, Graph
from search_spaces.lowering import lower, skeleton
from workbench.doors.bytes import read_text
from workbench.doors.json import read_json_object
from workbench.errors import BadInput, missing_package

if TYPE_CHECKING:
    from zoo.detector import Detector


@dataclass(frozen=True)
class ResolvedModel:
    """A model that can be costed and scored: ``arch`` for ours, else a ``detector`` of the zoo or a ``plain_graph``."""

    name: str
    arch: Architecture | None = None
    plain_graph: Graph | None = None
    detector: Detector | None = None

    @property
    def input_px(self) -> int:
        """The input side (pixels) that it was searched, trained or published at; 640 where nothing says so."""
        if self.detector is not None:
            return self.detector.info.input_px
        if self.arch is not None and self.arch.input_px is not None:
            return self.arch.input_px
        fixed = None if self.plain_graph is None else self.plain_graph.fixed_px
        return fixed[0] if fixed else DEFAULT_PX

    def side_text(self, input_px: int) -> str:
        """The input side that something is computed at, and the model's own where that is another one."""
        own = self.input_px
        instead = "" if input_px == own else f" instead of the model's own {own} x {own}"
        return f"input {input_px} x {input_px} pixels{instead}"

    def graph(self, scope: str = "detector", input_px: int | None = None) -> Graph:
        """The deploy form's graph; models of the zoo are traced at ``input_px`` (pixels), None is their own side.

        A bare backbone has a graph for ``scope="backbone"`` only.
        """
        if self.arch is not None:
            return lower(self.arch, scope)
        side = input_px or self.input_px
        graph = self.detector.graph(side) if self.detector is not None else self.plain_graph
        assert graph is not None
        if scope == "backbone" and any(op.part for op in graph):
            return graph.only_part("backbone")
        return graph

    def default_scope(self) -> str:
        """``detector``, or ``backbone`` for an architecture without neck."""
        return "backbone" if self.arch is not None and self.arch.neck is None else "detector"

    def score_graph(self, input_px: int, deployed: bool = False) -> tuple[Graph, int]:
        """The graph that scores are defined on, and its input side (pixels); ``deployed`` is the whole network."""
        if deployed:
            graph = self.graph(self.default_scope(), input_px)
            return graph, graph.fixed_px[0] if graph.fixed_px else input_px
        if self.arch is None:
            graph = self.graph("backbone", input_px)
            return graph, graph.fixed_px[0] if graph.fixed_px else input_px
        return skeleton(self.arch), input_px // 2 if self.arch.stem.focus else input_px


def resolve_model(text: str) -> ResolvedModel:
    """The model that ``text`` names."""
    from search_spaces.published import PUBLISHED

    if text.lower() in PUBLISHED:
        return ResolvedModel(text.lower(), PUBLISHED[text.lower()])
    path = Path(text)
    if path.is_dir():
        path = _best_of(path)
    if path.is_file():
        return _from_file(path, text)
    if path.suffix or "/" in text:
        raise BadInput(f"no such file: {text!r}")
    from zoo.families.card import find_card

    return _from_zoo(find_card(text).model)


def resolve_detector(text: str, seed: int = 0) -> tuple[Detector, bool]:
    """The detector that ``text`` names, in evaluation mode, and whether its weights are trained.

    One of our checkpoints, or an architecture or model name with fresh weights initialized from ``seed``.
    """
    path = Path(text)
    if path.is_dir():
        path = _best_of(path, "best.safetensors")
    if path.suffix == ".safetensors":
        return load_checkpoint(path), True
    if Path(text).suffix in (".pt", ".pth", ".npz"):
        raise BadInput(f"{text!r} is not in this workbench's format: bring it in with nas zoo import {text}")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_package("a detector", error.name, "torch") from error
    from zoo.detector import Recipe
    from zoo.factory import build_recipe

    model = resolve_model(text)
    torch.manual_seed(seed)
    if model.arch is not None:
        head = model.arch.head
        if head is None:
            raise BadInput(f"{text!r} is a bare backbone: a detector needs neck and head")
        return build_recipe(Recipe(model.name, head.classes, model.arch)).eval(), False
    if model.detector is None:
        raise BadInput(
            f"{text!r} is only a graph: give a checkpoint (.safetensors), an architecture or a model of nas zoo"
        )
    return build_recipe(model.detector.recipe).eval(), False


def _best_of(folder: Path, first: str = "best.yaml") -> Path:
    """The result in a run folder: ``best.yaml`` of a search or ``best.safetensors`` of a training.

    Where it has both, ``first`` is taken.
    """
    for name in (first, "best.yaml", "best.safetensors"):
        if (folder / name).is_file():
            return folder / name
    raise BadInput(
        f"{str(folder)!r} is a folder without best.yaml (a search) and best.safetensors (a training): name a finished "
        "run or a file"
    )


def load_checkpoint(path: str | Path) -> Detector:
    """The detector of one of our checkpoints, in evaluation mode on the CPU."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package("opening a checkpoint", error.name, "torch") from error
    from zoo.weights.checkpoint import load

    return load(path)


def _from_file(path: Path, text: str) -> ResolvedModel:
    """The model in a file; ``text`` is what the user typed for it."""
    if path.suffix == ".safetensors":
        detector = load_checkpoint(path)
        if detector.recipe.architecture is not None and not detector.recipe.cuts:
            arch = dataclasses.replace(detector.recipe.architecture, input_px=detector.info.input_px)
            return ResolvedModel(path.stem, arch)
        return ResolvedModel(path.stem, detector=detector)
    if path.suffix == ".onnx":
        from zoo.graphs.from_onnx import read_onnx

        return ResolvedModel(path.stem, plain_graph=read_onnx(path))
    if path.suffix in (".yaml", ".yml"):
        arch = Architecture.load(path)
        return ResolvedModel(arch.name or path.parent.name if path.stem == "best" else path.stem, arch)
    if path.suffix == ".json":
        return ResolvedModel(path.stem, plain_graph=Graph.from_json(read_json_object(path, "graph")))
    from search_spaces.tinynas_text import MOST_BYTES, parse

    content = read_text(path, "YAML, TinyNAS text, graph JSON or ONNX in", MOST_BYTES)
    return ResolvedModel(path.stem, parse(content, where=text))


def _from_zoo(name: str) -> ResolvedModel:
    """A model with fixed sizes, on the meta device: enough to cost it."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package(f"measuring {name}", error.name, "torch") from error
    from zoo.factory import build
    from zoo.meta import without_weights

    with without_weights():
        return ResolvedModel(name, detector=build(name))
