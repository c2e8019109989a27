"""Block kinds, one file a kind.

To add one: write a subclass of ``BlockKind`` or ``ChainKind`` in a file of its own, add its line to ``BLOCK_KINDS``,
and its torch form to ``zoo.families.parts.blocks``. The contract suite in
``tests/search_spaces/blocks/test_block_contract.py`` then runs on it.
"""

from __future__ import annotations

from search_spaces.blocks.base import BlockKind
from search_spaces.blocks.cspnext import CSPNeXt, CSPNeXtPlain
from search_spaces.blocks.fasternet import FasterNet
from search_spaces.blocks.k1dwk1 import K1DWK1
from search_spaces.blocks.k1dwsek1 import K1DWSEK1
from search_spaces.blocks.k1kx import K1KX
from search_spaces.blocks.k1kxk1 import K1KXK1
from search_spaces.blocks.kxkx import KXKX
from search_spaces.blocks.plain_conv import PlainConv
from search_spaces.blocks.repncspelan import RepNCSPELAN
from search_spaces.blocks.repvgg import RepVGG
from search_spaces.blocks.repvit import RepViT, RepViTSE
from search_spaces.blocks.spp_stage import SPPStage

BLOCK_KINDS: dict[str, BlockKind] = {
    "k1kx": K1KX(),
    "kxkx": KXKX(),
    "k1dwk1": K1DWK1(),
    "k1dwsek1": K1DWSEK1(),
    "k1kxk1": K1KXK1(),
    "conv": PlainConv(),
    "repvgg": RepVGG(),
    "repncspelan": RepNCSPELAN(),
    "cspnext": CSPNeXt(),
    "cspnext_plain": CSPNeXtPlain(),
    "spp": SPPStage(),
    "repvit": RepViT(),
    "repvitse": RepViTSE(),
    "fasternet": FasterNet(),
}
"""Block kinds by name."""
