"""The import graph: only downward arrows between packages, no circle between files, late heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("workbench", "search_spaces", "zoo", "distill", "nas")
"""From the ground up: a package may import itself and the packages before it."""

HEAVY = ("torch", "ray", "optuna", "matplotlib", "scipy", "cv2", "onnx", "onnxruntime", "tensorboard", "pycocotools")
"""Libraries that are imported only where they are used."""

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IDS = [path.relative_to(ROOT).as_posix() for path in FILES]


def module_name(path: Path) -> str:
    """``zoo/nms.py`` -> ``zoo.nms``; a package goes by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that ``tree`` imports, in functions and under TYPE_CHECKING too; relative imports are
    refused."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative imports hide where a file depends on"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Module -> modules it imports, of those in ``sources`` (module -> text)."""
    graph: dict[str, set[str]] = {}
    for module, text in sources.items():
        edges = set()
        for name in imported_names(ast.parse(text)):
            target = name if name in sources else name.rpartition(".")[0]
            if target in sources and target != module:
                edges.add(target)
        graph[module] = edges
    return graph


def upward(graph: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Edges from a package to one above it."""
    rank = {package: place for place, package in enumerate(PACKAGES)}

    def level(module: str) -> int:
        return rank[module.partition(".")[0]]

    return [
        (module, target)
        for module, targets in graph.items()
        for target in sorted(targets)
        if level(target) > level(module)
    ]


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One circle as a list of modules whose last is its first; empty where there is none. Depth-first, three
    colours."""
    done: set[str] = set()
    for start in sorted(graph):
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            path, stack = [start], [(start, iter(sorted(graph[start])))]
        while stack:
            target = next(stack[-1][1], None)
            if target is None:
                done.add(stack.pop()[0])
                path.pop()
            elif target in path:
                return [*path[path.index(target) :], target]
            elif target not in done:
                path.append(target)
                stack.append((target, iter(sorted(graph[target]))))
    return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph({module_name(path): path.read_text(encoding="utf-8") for path in FILES})


def test_packages_import_downwards_only(graph: dict[str, set[str]]) -> None:
    assert upward(graph) == [], "imports run nas -> distill -> zoo -> search_spaces -> workbench"


def test_files_import_without_circles(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 200
    assert find_circle(graph) == []


@pytest.mark.parametrize(
    ("sources", "arrows", "circle"),
    [
        ({"zoo.a": "from nas.costs import f", "nas.costs": ""}, [("zoo.a", "nas.costs")], []),
        ({"distill.a": "def f():\n    import nas.b", "nas.b": ""}, [("distill.a", "nas.b")], []),
        ({"nas.a": "import zoo.b, workbench.c", "zoo.b": "", "workbench.c": ""}, [], []),
        (
            {"nas.a": "from nas import b", "nas.b": "def f():\n    from nas.a import x", "nas": ""},
            [],
            ["nas.a", "nas.b", "nas.a"],
        ),
        (
            {"zoo.a": "import zoo.b", "zoo.b": "import zoo.c", "zoo.c": "if TYPE_CHECKING:\n    import zoo.a"},
            [],
            ["zoo.a", "zoo.b", "zoo.c", "zoo.a"],
        ),
    ],
)
def test_arrows_and_circles_are_seen(sources: dict[str, str], arrows: list[tuple[str, str]], circle: list[str]) -> None:
    graph = import_graph(sources)
    assert upward(graph) == arrows
    assert find_circle(graph) == circle


def test_every_folder_with_modules_is_a_package() -> None:
    """setuptools ships packages only; a folder without ``__init__.py`` would be missing from an installation."""
    assert [
        folder for folder in sorted({path.parent for path in FILES}) if not (folder / "__init__.py").is_file()
    ] == []


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_module_has_a_docstring(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring and docstring.strip()


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.relative_to(ROOT).parts[0] in ("workbench", "search_spaces")],
    ids=lambda path: path.name,
)
def test_the_ground_imports_no_heavy_library_at_top_level(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top_level = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
    assert not [name for name in imported_names(top_level) if name.partition(".")[0] in HEAVY]


def test_help_is_shown_without_numpy() -> None:
    code = "import sys; sys.argv = ['nas', '--help']; from nas.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\nassert 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bench-scores" in done.stdout


@pytest.mark.parametrize("module", ["nas.cli", "nas", "zoo", "search_spaces", "workbench"])
def test_imports_are_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
