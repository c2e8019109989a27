"""Block kinds, one file a kind.

To add one: write a subclass of ``ChainKind`` or ``WholeStageKind`` in a file of its own, add its line to
``BLOCK_KINDS``, and its torch form to ``zoo.families.parts.blocks``. The contract suite in
``tests/search_spaces/blocks/test_block_contract.py`` then runs on it.
"""

from __future__ import annotations

from search_spaces.blocks.base import BlockKind
from search_spaces.blocks.c2f import C2f
from search_spaces.blocks.c2psa import C2PSA
from search_spaces.blocks.c3k2 import C3K2
from search_spaces.blocks.c3k2_attn import C3K2Attention
from search_spaces.blocks.c3k2_c3k import C3K2C3K
from search_spaces.blocks.cspnext import CSPNeXt, CSPNeXtPlain
from search_spaces.blocks.elan import ELAN
from search_spaces.blocks.elan1 import ELAN1
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
from search_spaces.blocks.sppf import SPPF
from search_spaces.blocks.sppf_res import ResidualSPPF

BLOCK_KINDS: dict[str, BlockKind] = {
    "k1kx": K1KX(),
    "kxkx": KXKX(),
    "k1dwk1": K1DWK1(),
    "k1dwsek1": K1DWSEK1(),
    "k1kxk1": K1KXK1(),
    "conv": PlainConv(),
    "c2f": C2f(),
    "c3k2": C3K2(),
    "c3k2_c3k": C3K2C3K(),
    "c3k2_attn": C3K2Attention(),
    "sppf": SPPF(),
    "sppf_res": ResidualSPPF(),
    "c2psa": C2PSA(),
    "elan": ELAN(),
    "repvgg": RepVGG(),
    "elan1": ELAN1(),
    "repncspelan": RepNCSPELAN(),
    "cspnext": CSPNeXt(),
    "cspnext_plain": CSPNeXtPlain(),
    "spp": SPPStage(),
    "repvit": RepViT(),
    "repvitse": RepViTSE(),
    "fasternet": FasterNet(),
}
"""Block kinds by name."""
