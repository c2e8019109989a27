"""The training of a search's shortlist, as ``nas.search`` is asked for it with ``then``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from distill.request import TrainRequest
from distill.teach.request import TeacherRequest
from nas.api.arguments import Text, optional_text, optional_texts, text_of, texts_of
from nas.api.train import Changes, changes_of
from nas.shortlist.request import EPOCHS, TOP, ShortlistRequest
from workbench.errors import BadInput

TRAIN, DISTILL = "train", "distill"
OPTION_NAMES = {"train_changes": "--train-set", "train_input_px": "--train-input"}
"""Options whose name on the command line is not the field's."""


@dataclass(frozen=True)
class ShortlistOptions:
    """How a shortlist is trained; None stands for a default."""

    data: Text | None = None
    val: Text | None = None
    top: int | None = None
    against: Text | Sequence[Text] | None = None
    teacher: Text | Sequence[Text] | None = None
    teacher_weights: Text | Sequence[Text] | None = None
    epochs: int | None = None
    batch: int | None = None
    recipe: Text | None = None
    train_changes: Changes | None = None
    train_input_px: int | None = None
    train_device: str | None = None
    train_data_workers: int | None = None


def shortlist_request(
    then: str | None, options: ShortlistOptions, input_px: int | None, seed: int, quiet: bool
) -> ShortlistRequest | None:
    """What a search is asked to train; None without ``then``, where no other option but ``data`` may be given."""
    if then is None:
        for field in fields(options):
            if field.name != "data" and getattr(options, field.name) is not None:
                option = OPTION_NAMES.get(field.name, f"--{field.name.replace('_', '-')}")
                raise BadInput(f"{option} says how the shortlist is trained: add --then train or --then distill")
        return None
    if then not in (TRAIN, DISTILL):
        raise BadInput(f"--then {then!r} must be {TRAIN} or {DISTILL}")
    if options.data is None:
        raise BadInput(f"--then {then} needs --data PATH: the data to train on (nas data synth makes a set)")
    if (options.teacher is not None) != (then == DISTILL):
        missing, extra = "--then distill needs --teacher T", "--then train has no teacher: say --then distill"
        raise BadInput(missing if then == DISTILL else extra)
    teaching = None
    if options.teacher is not None:
        teaching = TeacherRequest(texts_of(options.teacher), texts_of(options.teacher_weights))
    request = TrainRequest(
        model="", data=text_of(options.data), val=optional_text(options.val), recipe=optional_text(options.recipe),
        changes=changes_of(options.train_changes or ()),
        epochs=EPOCHS if options.epochs is None else options.epochs,
        batch=options.batch, input_px=options.train_input_px or input_px, device=options.train_device or "cpu",
        data_workers=options.train_data_workers, seed=seed, quiet=quiet, teaching=teaching,
    )  # fmt: skip
    top = TOP if options.top is None else options.top
    return ShortlistRequest(request, top, optional_texts(options.against))
