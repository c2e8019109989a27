"""From what a person typed to something a ruler can read: an architecture, or any Graph.

``X`` in ``nas show X``, ``nas score X`` and ``nas cost X`` may be an architecture YAML, a study folder
or its ``best.yaml``, a TinyNAS text, an ONNX file, a graph JSON, or the name of a published DAMO-YOLO model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from search_spaces.architecture import Architecture
from search_spaces.errors import BadInput, unknown_name
from search_spaces.graph import Graph
from search_spaces.lowering import lower, skeleton


@dataclass(frozen=True)
class Subject:
    """One thing to measure: ``arch`` where it is one of ours, else only its ``whole`` graph."""

    name: str
    arch: Architecture | None = None
    whole: Graph | None = None

    def graph(self, scope: str = "detector") -> Graph:
        """Deploy-form graph; a bare backbone answers only for ``scope="backbone"``."""
        if self.arch is not None:
            return lower(self.arch, scope)
        assert self.whole is not None
        return self.whole

    def default_scope(self) -> str:
        """The whole detector where there is one."""
        return "backbone" if self.arch is not None and self.arch.neck is None else "detector"

    def score_graph(self, input_px: int) -> tuple[Graph, int]:
        """The graph that scores are defined on, and the input side (pixels) it sees."""
        if self.arch is None:
            assert self.whole is not None
            fixed = self.whole.fixed_px
            return self.whole, fixed[0] if fixed else input_px
        return skeleton(self.arch), input_px // 2 if self.arch.stem.focus else input_px


def resolve_subject(text: str, scope: str = "detector") -> Subject:
    """Find out what ``text`` names. ``scope`` is what the caller will ask for; kept for error texts."""
    from search_spaces.published import PUBLISHED

    if text.lower() in PUBLISHED:
        return Subject(text.lower(), PUBLISHED[text.lower()])
    path = Path(text)
    if path.is_dir():
        path = path / "best.yaml"
        if not path.is_file():
            raise BadInput(f"{text!r} is a folder without best.yaml: is it a finished study?")
    if not path.is_file():
        if path.suffix or "/" in text:
            raise BadInput(f"no such file: {text!r}")
        raise unknown_name("model", text, PUBLISHED)
    if path.suffix == ".onnx":
        from zoo.onnx_graph import read_onnx

        return Subject(path.stem, whole=read_onnx(path))
    if path.suffix in (".yaml", ".yml"):
        arch = Architecture.load(path)
        return Subject(arch.name or path.parent.name if path.stem == "best" else path.stem, arch)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {text!r} as YAML, TinyNAS text, graph JSON or ONNX: {error}") from error
    if path.suffix == ".json":
        try:
            return Subject(path.stem, whole=Graph.from_json(json.loads(content)))
        except json.JSONDecodeError as error:
            raise BadInput(f"{text!r}: not JSON: {error}") from error
    from search_spaces.tinynas_text import parse

    return Subject(path.stem, parse(content, where=text))
