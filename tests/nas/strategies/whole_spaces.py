"""Small random spaces with all genes of a detector in play, and all their rows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from search_spaces.space import Space
from search_spaces.space_file import read_space
from search_spaces.variants import VariantSpace
from workbench.doors.yaml import yaml_text
from workbench.errors import BadInput

LADDER = [16, 32, 48, 64]
INNER: dict[str, dict[str, Any]] = {
    "k1kx": {"btn": [16, 32]}, "k1dwk1": {"btn_ratio": [2.0, 3.0], "k": [3, 5]}, "c3k2": {"btn_ratio": [0.25, 0.5]},
    "repvgg": {"btn": [16]}, "c2f": {"btn": [16, 32], "depth": [1, 3]}, "cspnext": {"btn_ratio": [0.5], "k": [5]},
}  # fmt: skip
"""What a stage of each kind chooses from beside its depth."""


def random_whole_space(rng: np.random.Generator, most: int) -> Space:
    """At most ``most`` detectors: kinds, neck, head, levels and input sides vary, each in some of the spaces."""
    while True:
        try:
            space = read_space(yaml_text(_random_data(rng), sort_keys=True), "random")
        except BadInput:  # widths of the neck that all narrow, or none that the rules allow
            continue
        if 30 <= space.size() <= most:
            return space


def _random_data(rng: np.random.Generator) -> dict[str, Any]:
    def some(values: list[Any], most: int) -> list[Any]:
        chosen = rng.choice(len(values), int(rng.integers(1, most + 1)), replace=False)
        return [values[i] for i in sorted(chosen)]

    stages = []
    for stride in (2, 2, 2, 2) if rng.random() < 0.5 else (2, 2, 1, 2, 2):
        kinds = some(list(INNER), 2)
        entries = [{"kind": kind, **INNER[kind]} for kind in kinds]
        stages.append(
            {"kind": entries, "stride": stride, "out": some(LADDER, 2), "depth": some([1, 2, 3], 2)}
        )
    levels = [[8, 16, 32]] if rng.random() < 0.5 else [[8, 16, 32], [8, 16]]
    outs = {stride: some([16, 32, 48], 2) for stride in (8, 16, 32)}
    data: dict[str, Any] = {
        "name": "random", "style": "mixed", "act": "relu", "spp": bool(rng.random() < 0.5), "channels": 8,
        "stem": {"out": some([8, 16], 2), "k": 3, "focus": bool(rng.random() < 0.5)}, "stages": stages,
        "rules": {"out_grows": bool(rng.random() < 0.7)}, "levels": levels,
        "neck": {"out": outs, "depth": some([0.34, 0.67], 2), "hidden_ratio": some([0.5, 1.0], 2)},
        "head": {"classes": 4, "reg_max": some([0, 7], 2), "k": 1, "convs": some([0, 1], 2)},
    }  # fmt: skip
    if rng.random() < 0.5:
        data["input"] = some([64, 96, 128], 2)
    return data


def all_rows(space: Space) -> np.ndarray:
    """Every row of a space, in lexicographic order."""
    if isinstance(space, VariantSpace):
        every = np.concatenate([space.embed(variant, all_rows(variant.space)) for variant in space.variants])
        return every[np.lexsort(every.T[::-1])]
    parts: list[list[tuple[int, ...]]] = [[(width,) for width in space.stem_outs]]
    for i, stage in enumerate(space.stages):
        parts.append([
            (out, btn, k, depth, kind)
            for kind, of in enumerate(stage.alternatives)
            for out, k, depth in itertools.product(of.outs, of.ks, of.depths)
            for btn in space.btn_values(i, out, kind)
        ])  # fmt: skip
    tail = space.tail
    tails = [()] if tail is None else [
        tuple(genes) for structure in tail.structures for genes in tail.rows(tail.widths, structure).tolist()
    ]  # fmt: skip
    rows = np.array([
        space.assemble(stem[0], stages, genes)
        for stem, *stages in itertools.product(*parts)
        if all(space.allows(i, before, after[0]) for i, (before, after) in enumerate(_neighbors(stem, stages)))
        for genes in tails
    ])  # fmt: skip
    return rows[np.lexsort(rows.T[::-1])]


def _neighbors(stem: tuple[int, ...], stages: list[tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
    befores = [stem[0], *(stage[0] for stage in stages[:-1])]
    return list(zip(befores, stages, strict=True))
