"""``import search_spaces`` is light, and its public names are plain attributes that print well."""

from __future__ import annotations

import subprocess
import sys

import pytest

import search_spaces
from search_spaces import PUBLISHED, Architecture, Graph, Space, load_space, lower, space_names


def test_import_is_light() -> None:
    code = "import sys, search_spaces; assert not {'numpy', 'yaml', 'torch'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    for name in dir(search_spaces):
        assert getattr(search_spaces, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Spaces'"):
        _ = search_spaces.Spaces


def test_a_space_prints_its_choices() -> None:
    space = load_space("res-t")
    assert isinstance(space, Space)
    assert repr(space).startswith("Space('res-t', res, stem ")
    assert "architectures)" in repr(space)
    lines = str(space).splitlines()
    assert len(lines) == 1 + len(space.stages)
    assert lines[1].startswith("  stage 1: k1kx, stride 2, out ")


@pytest.mark.parametrize("name", space_names())
def test_every_space_prints_short_lines(name: str) -> None:
    assert max(len(line) for line in str(load_space(name)).splitlines()) <= 120


def test_an_architecture_prints_its_stages() -> None:
    arch = PUBLISHED["damo-yolo-t"]
    assert isinstance(arch, Architecture)
    text = "Architecture('damo-yolo-t', res, stem 24, stages 64-96-192-192-384, neck 64-128-256, 80 classes)"
    assert repr(arch) == text
    assert str(arch).splitlines()[1] == "  stage 1: 2 x k1kx, out   64, btn   24, k 3, total stride 4"
    assert repr(arch.backbone()).endswith("stages 64-96-192-192-384)")


def test_a_graph_prints_its_size() -> None:
    graph = lower(PUBLISHED["damo-yolo-t"])
    assert isinstance(graph, Graph)
    assert repr(graph) == f"Graph('damo-yolo-t', {len(graph)} ops, 1 inputs, 6 outputs)"
