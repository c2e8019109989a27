"""Neck kinds, one file a kind.

To add one: write a subclass of ``NeckKind`` in a file of its own, add its line to ``NECK_KINDS``, and its torch form to
``zoo.families.parts.necks``.
"""

from __future__ import annotations

from search_spaces.necks.base import NeckKind
from search_spaces.necks.pan import PAN
from search_spaces.necks.repgfpn import RepGFPN

NECK_KINDS: dict[str, NeckKind] = {kind.name: kind for kind in (RepGFPN(), PAN())}
"""Neck kinds by name."""
