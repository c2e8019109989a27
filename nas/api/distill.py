"""``nas.distill``: train a student with one or several teachers, also against a control without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill.prepare import train_from
from distill.request import TrainRequest
from distill.teach.request import TeacherRequest
from distill.train.parallel.worker_request import worker_request
from nas.api.arguments import Text, optional_text, optional_texts, text_of, texts_of
from nas.api.train import Changes, changes_of
from workbench.errors import BadInput

if TYPE_CHECKING:
    from distill.study.control import ControlResult
    from distill.train.run import TrainResult


def distill(
    model: Text, data: Text, teacher: Text | Sequence[Text], *, val: Text | None = None, weights: Text | None = None,
    inherit: Text | None = None, recipe: Text | None = None, changes: Changes = (), epochs: int | None = None,
    batch: int | None = None, input_px: int | None = None, device: str = "cpu", precision: str | None = None,
    data_workers: int | None = None, workers: int | None = None, gpus_per_worker: int | None = None,
    cpus_per_worker: int | None = None, address: str | None = None, seed: int = 0, deterministic: bool = False,
    name: str | None = None, runs: Text = "runs", fresh: bool = False,
    accept_changed_data: bool = False, patience: int | None = None, freeze: str | None = None, report: bool = True,
    quiet: bool = False,
    teacher_weights: Text | Sequence[Text] = (), chain: str | Sequence[str] | None = None, control: bool = False,
    seeds: int | None = None, stop_when_harmful: bool = False, teacher_input_px: int | None = None,
    teacher_half: bool | None = None, features: str | Sequence[str] = ("cwd",),
    responses: str | Sequence[str] | None = None, share: float | None = None, cache_views: int | None = None,
    cache: Text | None = None, cache_gb: float | None = None,
) -> TrainResult | ControlResult:  # fmt: skip
    """Train a student with a teacher. Everything that ``nas.train`` takes works here.

    Args:
        teacher: checkpoints, names of models with ``teacher_weights``, or ``self`` (EMA of the student).
        teacher_weights: checkpoints of teachers that are given by name, in their order.
        chain: models between teacher and student, largest first; each is taught by the one before it.
        control: train with and without the teacher and return the gain with its 95 % interval (a ``ControlResult``).
        seeds: with ``control``: number of seeds from ``seed`` on; None: 3.
        stop_when_harmful: with ``control``: stop once the teacher is known to do harm.
        teacher_input_px: side of the teacher's input in pixels; None takes the student's.
        teacher_half: run the teacher in half precision; None: where the student is trained in it, and on CPUs that
            multiply bfloat16 matrices.
        features: feature methods: cwd, mgd, mimic, pkd, fgd.
        responses: response methods: scores, localisation, boxes, overlap, hungarian; None: what suits the pair.
        share: share of the gradient norm that the teacher's losses get; None: 0.3.
        cache_views: number of augmented views of each image that are repeated, so that the teacher sees each once.
        cache: folder for the teacher's outputs, shared with other runs; None: with the run, until it is done.
        cache_gb: disk space for these outputs, in 1e9 bytes; 0 keeps none; None: 20.
    """
    _check_control(control, seeds, stop_when_harmful, workers)
    views = () if cache_views is None else (f"views={cache_views}",)
    request = TrainRequest(
        model=text_of(model), data=text_of(data), val=optional_text(val), weights=optional_text(weights),
        inherit=optional_text(inherit), recipe=optional_text(recipe), changes=(*changes_of(changes), *views),
        epochs=epochs, batch=batch, input_px=input_px, device=device, precision=precision,
        data_workers=data_workers, seed=seed, deterministic=deterministic, name=name, runs=text_of(runs),
        fresh=fresh, accept_changed_data=accept_changed_data, quiet=quiet, patience=patience, freeze=freeze,
        report=report,
        teaching=TeacherRequest(
            texts_of(teacher), texts_of(teacher_weights), teacher_input_px, texts_of(features),
            optional_texts(responses), share, teacher_half, optional_text(cache), cache_gb,
        ),
        workers=worker_request(workers, gpus_per_worker, cpus_per_worker, address),
    )  # fmt: skip
    if chain is not None:
        from distill.study.chain import parse_chain, train_chain

        request, _ = train_chain(request, parse_chain(chain if isinstance(chain, str) else ",".join(chain)))
    if not control:
        return train_from(request)
    from distill.study.control import DEFAULT_SEEDS
    from distill.study.control import control as compare_with_control

    return compare_with_control(request, DEFAULT_SEEDS if seeds is None else seeds, stop_when_harmful)


def _check_control(control: bool, seeds: int | None, stop_when_harmful: bool, workers: int | None) -> None:
    if not control and (seeds is not None or stop_when_harmful):
        raise BadInput("--seeds and --stop-when-harmful belong to --control: add it")
    if stop_when_harmful and workers is not None:
        raise BadInput(
            "--stop-when-harmful looks into a run from its own process: leave it out, or leave out --workers"
        )


