"""The methods of distillation by name. A new one is a file in ``features`` or ``responses`` and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.teach.class_mapping import ClassMapping
from distill.teach.features.base import FeatureMethod
from distill.teach.features.cwd import ChannelWise
from distill.teach.features.fgd import FocalGlobal
from distill.teach.features.mgd import MaskedGenerative
from distill.teach.features.mimic import Mimic
from distill.teach.features.pkd import Pearson
from distill.teach.responses.base import Pair, ResponseMethod
from distill.teach.responses.boxes import Boxes
from distill.teach.responses.hungarian import Hungarian
from distill.teach.responses.localisation import Localization
from distill.teach.responses.overlap import Overlap
from distill.teach.responses.scores import Scores
from workbench.checks import check_options
from workbench.errors import unknown_name

FEATURE_METHODS: dict[str, type[FeatureMethod]] = {
    "cwd": ChannelWise,
    "mgd": MaskedGenerative,
    "mimic": Mimic,
    "pkd": Pearson,
    "fgd": FocalGlobal,
}
RESPONSE_METHODS: dict[str, type[ResponseMethod]] = {
    "scores": Scores,
    "localisation": Localization,
    "boxes": Boxes,
    "overlap": Overlap,
    "hungarian": Hungarian,
}


def feature_method(name: str) -> type[FeatureMethod]:
    """The class of a feature method; an unknown name is refused."""
    if name not in FEATURE_METHODS:
        raise unknown_name("feature distillation", name, FEATURE_METHODS)
    return FEATURE_METHODS[name]


def response_method(name: str) -> type[ResponseMethod]:
    """The class of a response method; an unknown name is refused."""
    if name not in RESPONSE_METHODS:
        raise unknown_name("response distillation", name, RESPONSE_METHODS)
    return RESPONSE_METHODS[name]


def make_feature_method(
    name: str,
    student_channels: Sequence[int],
    teacher_channels: Sequence[int],
    options: Mapping[str, Any] | None = None,
) -> FeatureMethod:
    """The feature method ``name`` for these channels, one a level; an unknown name or option is refused."""
    method = feature_method(name)
    check_options(name, method, options or {}, given=2)
    return method(student_channels, teacher_channels, **(options or {}))


def make_response_method(name: str, classes: ClassMapping, options: Mapping[str, Any] | None = None) -> ResponseMethod:
    """The response method ``name`` for these classes; an unknown name or option is refused."""
    method = response_method(name)
    check_options(name, method, options or {}, given=1)
    return method(classes, **(options or {}))


def default_responses(pair: Pair) -> tuple[str, ...]:
    """Names of the response methods that are used for ``pair`` when none is named."""
    return tuple(name for name, method in RESPONSE_METHODS.items() if method.is_default(pair))
