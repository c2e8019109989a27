"""Block kind ``k1dwsek1``: ``k1dwk1`` with squeeze-excite."""

from __future__ import annotations

import numpy as np

from search_spaces.blocks.base import BlockNumbers
from search_spaces.blocks.k1dwk1 import K1DWK1
from search_spaces.blocks.wiring import squeeze_excite
from search_spaces.graph_builder import GraphBuilder


class K1DWSEK1(K1DWK1):
    """``k1dwk1`` with squeeze-excite after the depthwise conv (TinyNAS's classification space)."""

    name, style, tinynas, in_damo_yolo = "k1dwsek1", "mob", "SuperResK1DWSEK1", False

    def _gate(self, g: GraphBuilder, y: int, block: BlockNumbers) -> int:
        squeezed = np.maximum(1, np.round(np.asarray(block.btn) * 0.25).astype(np.int64) // 8) * 8
        return squeeze_excite(g, y, int(squeezed) if squeezed.ndim == 0 else squeezed, "silu", "sigmoid")
