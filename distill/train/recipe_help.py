"""The settings of a recipe as a table: name, value, and the docstring of the field of ``TrainRecipe``."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap

from distill.train.recipe import TrainRecipe, load_recipe
from workbench.tables import Table

NOT_SET = ("name", "source")
"""Fields that say where a recipe comes from."""


def field_docs() -> dict[str, str]:
    """The first docstring below every field, on one line; empty where there is none."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(TrainRecipe)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs: dict[str, str] = {}
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                text = " ".join(str(below.value.value).split())
            docs[node.target.id] = text
    return docs


def settings_table(name: str = "small") -> Table:
    """Every setting that ``--set`` changes, with its value in a recipe and what it means."""
    recipe, docs = load_recipe(name), field_docs()
    names = [field.name for field in dataclasses.fields(TrainRecipe) if field.name not in NOT_SET]
    values = {setting: getattr(recipe, setting) for setting in names}
    rows = [[setting, "-" if value is None else str(value), docs[setting]] for setting, value in values.items()]
    return Table(["setting", f"in {name}", "meaning"], rows)
