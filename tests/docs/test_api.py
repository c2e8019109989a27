"""What the pages of the Python interface name is there, says what it is, and starts without torch where that is
promised."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from tests.docs.pages import ROOT

NAMED = sorted(
    {
        name
        for page in (ROOT / "docs" / "api").glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
)


def found(name: str) -> object:
    """The object with this dotted name: as much of it as is a module, then attributes."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name not in (".".join(parts[: at + 1]) for at in range(cut)):
                pytest.skip(f"needs the package {error.name}")
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(f"no module of {name}")


@pytest.mark.parametrize("name", NAMED)
def test_what_is_documented_is_there_and_says_what_it_is(name: str) -> None:
    thing = found(name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__module__ == name.rpartition(".")[0], "document it where it is written"
        assert inspect.getdoc(thing) and not str(inspect.getdoc(thing)).startswith(
            f"{thing.__name__}("
        ), "a docstring, not the one dataclasses make"


def test_every_way_in_is_documented() -> None:
    import nas
    import zoo

    for name in nas.FUNCTIONS:
        assert callable(getattr(nas, name)) and f"nas.api.{name}.{name}" in NAMED
    for name, thing in vars(zoo).items():
        if inspect.isfunction(thing):
            assert f"zoo.{name}" in NAMED
