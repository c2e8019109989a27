"""Lines of the pages that are no ``nas`` command: each is checked here, or stands in a table with the reason why
not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import limits
from tests.docs.pages import ROOT, blocks, named, pages

SCRIPT = re.compile(r"^(?:[A-Z_]+=\S+ )*python (benchmarks/\w+\.py)(.*)$")
PYTHON = re.compile(r'^python -c "([^"]*)"$', re.MULTILINE)


def lines(page: Path) -> list[str]:
    """Of blocks without a language: every line, without what stands behind #."""
    if named(page) in limits.NO_COMMANDS:
        return []
    texts = [PYTHON.sub("", text).replace("\\\n", " ") for text in blocks(page, "")]
    return [line.split(" #")[0].strip() for text in texts for line in text.splitlines() if line.strip()]


OTHERS = [(page, line) for page in pages() for line in lines(page) if not line.startswith(("nas ", ".venv/bin/nas "))]
SCRIPTS = sorted({(found[1], found[2].strip()) for _, line in OTHERS if (found := SCRIPT.match(line))})


@pytest.mark.parametrize("page, line", OTHERS, ids=lambda value: value if isinstance(value, str) else named(value))
def test_every_line_is_accounted_for(page: Path, line: str) -> None:
    if line.startswith("make "):
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert line.split()[1] in targets
    elif found := SCRIPT.match(line):
        assert (ROOT / found[1]).is_file()
    else:
        assert any(
            line.startswith(one) for one in limits.ELSEWHERE
        ), "run it in a test, or say in tests/docs/limits.py why not"


def test_the_tables_speak_of_what_is_shown() -> None:
    for one in limits.ELSEWHERE:
        assert any(line.startswith(one) for _, line in OTHERS), one
    for name in limits.NO_COMMANDS:
        assert blocks(ROOT / name, ""), name
    assert SCRIPTS


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted({script for script, _ in SCRIPTS}))
def test_benchmarks_have_the_options_that_pages_give_them(script: str) -> None:
    """They take minutes to hours, so they only tell their options here."""
    for package in ("torch", "cv2", "pycocotools", "onnxruntime"):
        pytest.importorskip(package)
    text = (ROOT / script).read_text(encoding="utf-8")
    wanted = {
        word for name, options in SCRIPTS if name == script for word in shlex.split(options) if word.startswith("--")
    }
    if "argparse" not in text:
        assert not wanted
        return
    done = subprocess.run(
        [sys.executable, script, "--help"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert wanted <= set(re.findall(r"--[a-z][a-z0-9-]*", done.stdout))


def environment() -> dict[str, str]:
    """This one, with the repository on the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    "code", [code for page in pages() for text in blocks(page, "") for code in PYTHON.findall(text)]
)
def test_short_programs_run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), timeout=120, check=True)
