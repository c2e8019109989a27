"""From an Architecture to a Graph, analytically and without torch.

``lower`` writes the deployed detector (or bare backbone); ``skeleton`` writes the network that
TinyNAS scores. ``lower_stem``, ``lower_stage`` and ``lower_neck_head`` are the same code in pieces,
so that a search can cost stages one by one, and thousands of candidates at once, with arrays in
place of ints.
"""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.architecture import Architecture, Head, Neck, Stage
from search_spaces.blocks import BLOCK_KINDS
from search_spaces.blocks.base import Flow, StageNumbers
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder
from search_spaces.head import lower_head
from search_spaces.necks import NECK_KINDS
from search_spaces.ops import Num
from workbench.errors import BadInput

SCOPES = ("detector", "backbone")


def lower(arch: Architecture, scope: str = "detector") -> Graph:
    """The deploy form as a Graph: batch norms folded, re-parameterised branches merged.

    Outputs, finest level first: the backbone's maps for ``scope="backbone"``; for ``"detector"`` box and
    class maps of the levels, ``[4 * (reg_max + 1), h, w]`` and ``[classes, h, w]`` each.
    """
    if scope not in SCOPES:
        raise BadInput(f"scope {scope!r} must be one of {', '.join(SCOPES)}")
    g = GraphBuilder(3)
    flow = Flow(lower_stem(g, -1, arch.stem.out, arch.stem.k, arch.stem.focus, arch.stem.stride, arch.act))
    cin: Num = arch.stem.out
    features: list[int] = []
    for index, stage in enumerate(arch.stages):
        flags = stage_flags(arch.style, arch.stages, index, arch.spp)
        numbers = StageNumbers(cin, stage.out, stage.btn, stage.k, stage.depth, stage.stride, arch.act, **flags)
        g.scope = [f"stage{index + 1}"]
        flow = BLOCK_KINDS[stage.kind].lower(g, flow, numbers)
        features.append(flow.x)
        cin = stage.out
    g.scope = []
    if scope == "backbone" or arch.neck is None or arch.head is None:
        if scope == "detector" and arch.neck is None:
            raise BadInput(
                f"architecture {arch.name or arch.digest()!r} is a bare backbone: "
                "ask for scope 'backbone', or give it a neck and a head"
            )
        outputs = features[-1:] if not _has_taps(arch) else [features[i] for i in arch.taps]
        return g.finish(outputs, arch.name)
    outputs = lower_neck_head(g, [features[i] for i in arch.taps], arch.neck, arch.head)
    return g.finish(outputs, arch.name)


def stage_flags(style: str, stages: Sequence[Stage] | Sequence[int], index: int, with_spp: bool) -> dict[str, bool]:
    """``spp`` and ``closes`` of one stage (see ``StageNumbers``).

    The pyramid belongs to the last stage (in csp, to the stage that opens the last wrapping); a csp stage stays open
    while the next has stride 1.
    """
    strides = [stage if isinstance(stage, int) else stage.stride for stage in stages]
    last = len(strides) - 1
    spp_index = last - 1 if style == "csp" and strides[last] == 1 else last
    closes = style != "csp" or index == last or strides[index + 1] != 1
    return {"spp": with_spp and index == spp_index, "closes": closes}


def lower_stem(g: GraphBuilder, x: int, out: Num, k: int, focus: bool, stride: int, act: str) -> int:
    """Write the stem; with ``focus`` every 2x2 patch becomes 12 channels before the conv."""
    g.scope = ["stem"]
    if focus:
        patches = []
        for column in (0, 1):
            for row in (0, 1):
                rows = g.single("slice", x, f"rows{row}", axis=2, start=row, end=None, step=2)
                patches.append(g.single("slice", rows, f"cols{column}", axis=3, start=column, end=None, step=2))
        x, stride = g.join("concat", *patches, name="patches"), 1
    out_tensor = g.conv(x, out, k=k, s=stride, act=act)
    g.scope = []
    return out_tensor


def lower_neck_head(g: GraphBuilder, features: Sequence[int], neck: Neck, head: Head) -> list[int]:
    """Write neck and head after the backbone's tensors, finest first; return box and class map of every level.

    The tensors' channels and ``neck.out`` may be arrays ``[N]``; all else is the same for all candidates.
    """
    g.part = "neck"
    levels = NECK_KINDS[neck.kind].lower(g, features, neck)
    g.part = "head"
    return lower_head(g, levels, neck.strides, head, neck.act)


def skeleton(arch: Architecture) -> Graph:
    """The backbone as TinyNAS builds and scores it: stem conv (12 inputs with focus), plain blocks, no SPP.

    The input is the image after focus, so ask for ``input_px // 2`` where the stem has focus. The graph's
    outputs, and ``meta["levels"]``, are the tensors in which its resolutions end, finest first;
    ``meta["squeezed"]`` those that TinyNAS takes for 1 x 1 maps, because it follows the size into squeeze-excite.
    """
    g = GraphBuilder(12 if arch.stem.focus else 3)
    x = g.conv(-1, arch.stem.out, k=arch.stem.k, s=1 if arch.stem.focus else arch.stem.stride, act="relu", name="stem")
    levels: list[int] = []
    squeezed: list[int] = []
    after_squeeze = False
    for index, stage in enumerate(arch.stages):
        if stage.stride == 2:
            levels.append(x)
            squeezed += [x] if after_squeeze else []
        g.scope = [f"stage{index + 1}"]
        numbers = StageNumbers(g.channels(x), stage.out, stage.btn, stage.k, stage.depth, stage.stride, "relu")
        x = BLOCK_KINDS[stage.kind].skeleton_stage(g, x, numbers)
        after_squeeze = after_squeeze or any(op.kind == "global_avgpool" for op in g.ops)
    levels.append(x)
    squeezed += [x] if after_squeeze else []
    return g.finish(levels, arch.name, {"levels": levels, "squeezed": squeezed})


def count_layers(arch: Architecture) -> int:
    """Main-path convolutions of the backbone, counted as TinyNAS counts its ``layers`` budget."""
    return 1 + sum(int(BLOCK_KINDS[stage.kind].layers(stage.depth, stage.stride)) for stage in arch.stages)


def _has_taps(arch: Architecture) -> bool:
    return set(arch.level_strides) <= set(arch.strides)
