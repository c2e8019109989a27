"""Licences of the families' official code, for entries whose source states none.

Figures are facts and free; the licence is what a user of the network's code or weights has to look at next. Weights may
carry further conditions.
"""

from __future__ import annotations

FAMILY_LICENCES = {
    "damoyolo": "Apache-2.0",
    "deformabledetr": "Apache-2.0",
    "deimv2": "Apache-2.0",
    "detr": "Apache-2.0",
    "dino": "Apache-2.0",
    "efficientdet": "Apache-2.0",
    "fcos": "BSD-3-Clause",
    "lwdetr": "Apache-2.0",
    "nanodet": "Apache-2.0",
    "nanodetplus": "Apache-2.0",
    "picodet": "Apache-2.0",
    "ppyoloe+": "Apache-2.0",
    "retinanet": "BSD-3-Clause",
    "rfdetr": "Apache-2.0",
    "rtdetr": "Apache-2.0",
    "rtdetrv2": "Apache-2.0",
    "ssd": "BSD-3-Clause",
    "yolo11": "AGPL-3.0",
    "yolo12": "AGPL-3.0",
    "yolo26": "AGPL-3.0",
    "yolonas": "Apache-2.0, weights under their own terms",
    "yolov5u": "AGPL-3.0",
    "yolov6lite": "GPL-3.0",
    "yolov6mbla": "GPL-3.0",
    "yolov7": "GPL-3.0",
    "yolov8": "AGPL-3.0",
    "yolov10": "AGPL-3.0",
    "yolov13": "AGPL-3.0",
    "yolox": "Apache-2.0",
}
"""SPDX identifier by family, in lower case without dashes."""


def family_licence(family: str) -> str:
    """Licence of a family's official code; empty if not known."""
    return FAMILY_LICENCES.get(family.lower().replace("-", ""), "")
