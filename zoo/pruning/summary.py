"""A cut network beside the uncut one: channels, blocks, layers and parameters that stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from zoo.detector import Detector, Recipe
from zoo.factory import build_recipe
from zoo.meta import without_weights
from zoo.pruning.apply import apply_cuts
from zoo.pruning.cuts import Cuts
from zoo.pruning.group_widths import GroupWidth, group_widths
from zoo.pruning.groups import ChannelGroups, channel_groups


@dataclass(frozen=True, slots=True)
class CutSummary:
    """What is left of ``model``. Parameters are those in training form; stacks map a path to layers kept and in all."""

    model: str
    channels: int
    channels_kept: int
    blocks: int
    skipped: tuple[str, ...]
    stacks: Mapping[str, tuple[int, int]]
    parameters: int
    parameters_kept: int
    groups: ChannelGroups = field(repr=False)
    """Of the uncut network."""
    widths: tuple[GroupWidth, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the single groups."""
        return {
            "model": self.model, "channels": self.channels, "channels_kept": self.channels_kept,
            "blocks": self.blocks, "blocks_skipped": list(self.skipped),
            "layers_kept": {path: list(pair) for path, pair in self.stacks.items()},
            "parameters": self.parameters, "parameters_kept": self.parameters_kept,
        }  # fmt: skip

    def text(self) -> str:
        """One line: model, and the channels, blocks, layers and parameters that stay."""
        share = f"{100 * self.channels_kept / max(self.channels, 1):.1f} % of its channels kept"
        facts = [f"{share} ({self.channels_kept:,} of {self.channels:,} that can be cut)"]
        if self.blocks:
            facts.append(f"{len(self.skipped)} of {self.blocks} blocks skipped")
        facts += [f"{kept} of {of} layers in {path}" for path, (kept, of) in self.stacks.items()]
        percent = f"{100 * self.parameters_kept / max(self.parameters, 1):.1f} %"
        facts.append(f"{self.parameters_kept / 1e6:.2f} M of {self.parameters / 1e6:.2f} M parameters ({percent})")
        return f"cut from {self.model}: {', '.join(facts)}"


def uncut_network(recipe: Recipe) -> Detector:
    """The network of ``recipe`` without its cuts, on the meta device, in training form."""
    with without_weights():
        return build_recipe(replace(recipe, cuts=Cuts()))


def summarize_cuts(recipe: Recipe) -> CutSummary:
    """What the cuts of ``recipe`` leave of its network; takes some seconds for the largest networks."""
    detector = uncut_network(recipe)
    groups = channel_groups(detector)
    widths = group_widths(groups, recipe.cuts)
    before = _parameters(detector)
    apply_cuts(detector, recipe.cuts, groups)
    return CutSummary(
        model=recipe.model,
        channels=sum(width.channels for width in widths),
        channels_kept=sum(width.kept for width in widths),
        blocks=len(groups.blocks),
        skipped=recipe.cuts.skipped,
        stacks={path: (recipe.cuts.depths.get(path, of), of) for path, of in groups.stacks.items()},
        parameters=before,
        parameters_kept=_parameters(detector),
        groups=groups,
        widths=tuple(widths),
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
