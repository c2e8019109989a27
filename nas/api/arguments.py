"""What users may pass, in the form that the packages below take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from search_spaces.architecture import Architecture
from search_spaces.graph import Graph
from workbench.errors import BadInput
from zoo.resolve import ResolvedModel, resolve_model

Text = str | os.PathLike[str]
"""A name or a path."""
Subject = str | os.PathLike[str] | Architecture | Graph
"""Anything that can be costed: a name, a path, or the object itself."""


def text_of(value: Text) -> str:
    """A name or path as text."""
    return os.fspath(value)


def optional_text(value: Text | None) -> str | None:
    """The same where None stands for a default."""
    return None if value is None else os.fspath(value)


def texts_of(values: Text | Sequence[Text] | None) -> tuple[str, ...]:
    """One or several names or paths as a tuple; none for None."""
    if values is None:
        return ()
    several = (values,) if isinstance(values, (str, os.PathLike)) else values
    return tuple(os.fspath(value) for value in several)


def optional_texts(values: Text | Sequence[Text] | None) -> tuple[str, ...] | None:
    """The same where None stands for a default."""
    return None if values is None else texts_of(values)


def names_of(values: str | Sequence[str] | None, option: str) -> list[str]:
    """Names from an option that takes several, also with commas between; each once."""
    texts = texts_of(values)
    names = [name.strip() for text in texts for name in text.split(",")]
    if not all(names):
        raise BadInput(f"{option} {','.join(texts)!r} holds an empty name: put one between every two commas")
    return list(dict.fromkeys(names))


def subjects_of(values: Subject | Sequence[Subject]) -> list[tuple[str, ResolvedModel]]:
    """One or several subjects, ready to be costed and scored, each with the name it was given by."""
    several = [values] if isinstance(values, (str, os.PathLike, Architecture, Graph)) else list(values)
    return [_subject(value) for value in several]


def _subject(value: Subject) -> tuple[str, ResolvedModel]:
    if isinstance(value, Architecture):
        name = value.name or value.digest()
        return name, ResolvedModel(name, value)
    if isinstance(value, Graph):
        return value.name, ResolvedModel(value.name, plain_graph=value)
    return os.fspath(value), resolve_model(os.fspath(value))


def png_path(value: Text | None, option: str = "--png") -> Path | None:
    """The path of a picture to write, which must end in ``.png``."""
    if value is None:
        return None
    path = Path(value)
    if path.suffix.lower() != ".png":
        raise BadInput(f"{option} {str(value)!r} must end in .png")
    return path
