"""DAMO-YOLO's published detectors as Architectures: the references that every search is compared with.

Facts from tinyvision/DAMO-YOLO's configs (Apache-2.0): structure, neck and head settings.
"""

from __future__ import annotations

from search_spaces.architecture import Architecture, Head, Neck, Stage, Stem
from search_spaces.tinynas_text import DAMO_MOB_KERNEL, damo_mob_btn

_STRIDES = (2, 2, 2, 1, 2)


def _stages(
    kind: str, outs: tuple[int, ...], btns: tuple[int, ...], depths: tuple[int, ...], k: int = 3
) -> tuple[Stage, ...]:
    rows = zip(outs, btns, depths, _STRIDES, strict=True)
    return tuple(Stage(kind, out, btn, k, stride, depth) for out, btn, depth, stride in rows)


def _mob(outs: tuple[int, ...], depths: tuple[int, ...]) -> tuple[Stage, ...]:
    btns = tuple(damo_mob_btn(out, position) for position, out in enumerate(outs, start=1))
    return _stages("k1dwk1", outs, btns, depths, DAMO_MOB_KERNEL)


def _nano(name: str, stem: int, stages: tuple[Stage, ...], neck_out: tuple[int, int, int]) -> Architecture:
    neck = Neck(neck_out, depth=0.5, hidden_ratio=0.5, act="silu", depthwise=True)
    return Architecture("mob", Stem(stem, focus=False), stages, "silu", True, neck, Head(reg_max=7, k=1), name)


PUBLISHED: dict[str, Architecture] = {
    arch.name: arch
    for arch in (
        Architecture(
            "res", Stem(24), _stages("k1kx", (64, 96, 192, 192, 384), (24, 64, 96, 152, 192), (2, 2, 2, 2, 1)),
            neck=Neck((64, 128, 256), 1.0, 1.0), head=Head(), name="damo-yolo-t",
        ),
        Architecture(
            "res", Stem(32), _stages("k1kx", (128, 128, 256, 256, 512), (24, 88, 128, 120, 144), (1, 5, 3, 2, 1)),
            neck=Neck((128, 256, 512), 1.0, 0.75), head=Head(), name="damo-yolo-s",
        ),
        Architecture(
            "csp", Stem(32), _stages("kxkx", (128, 128, 256, 256, 512), (64, 64, 256, 256, 256), (2, 4, 4, 4, 3)),
            "silu", neck=Neck((128, 256, 512), 1.5, 1.0, "silu"), head=Head(), name="damo-yolo-m",
        ),
        Architecture(
            "csp", Stem(32), _stages("kxkx", (128, 128, 256, 256, 512), (96, 96, 384, 384, 384), (3, 5, 5, 5, 4)),
            "silu", neck=Neck((128, 256, 512), 2.0, 1.0, "silu"), head=Head(), name="damo-yolo-l",
        ),
        _nano("damo-yolo-ns", 16, _mob((24, 40, 64, 80, 160), (1, 2, 2, 2, 2)), (40, 80, 160)),
        _nano("damo-yolo-nm", 16, _mob((40, 64, 112, 128, 256), (2, 2, 2, 2, 1)), (64, 128, 256)),
        _nano("damo-yolo-nl", 24, _mob((48, 80, 160, 160, 320), (1, 2, 2, 3, 2)), (80, 160, 320)),
    )
}  # fmt: skip
"""By name: ``damo-yolo-t``, ``-s``, ``-m``, ``-l`` and the mobile ``-ns``, ``-nm``, ``-nl``."""
