"""``nas compare``: a comparison of whatever is named (runs, checkpoints, models, files) with the models of the zoo."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.comparison.background import NO_BACKGROUND, read_background
from nas.comparison.comparison import Comparison
from nas.comparison.rows import COST, PREDICTED, PUBLISHED, ZOO, Axis, ComparisonRow, Series
from nas.comparison.sources.checkpoints import checkpoint_row, is_training
from nas.comparison.sources.measurements import attach_measurements, bench_measurements, run_measurements
from nas.comparison.sources.models import card_row, named_row, selected_cards
from nas.comparison.sources.searches import search_rows
from nas.devices.interval import interval_ms
from nas.devices.profile import DeviceProfile, load_device
from workbench.errors import BadInput

COSTS = (
    Axis("flops", COST, "GFLOPs", "GFLOPs", "2 per multiply-accumulate, folded"),
    Axis("params", COST, "parameters", "M", "folded"),
)


def compare(
    subjects: Sequence[str] = (),
    devices: Sequence[str] = ("t4",),
    *,
    only: Sequence[str] | None = None,
    bench: Sequence[str] = (),
    top: int = 1,
    atlas: Sequence[str] | None = None,
    input_px: int | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare the ``subjects`` with the models of the zoo, with predicted latency on every device.

    Args:
        subjects: run folders, checkpoints, models of the zoo, or network files.
        devices: names of device profiles.
        only: families and models of the zoo that take part (None: all, empty: none).
        bench: files that ``nas bench --json`` printed.
        top: candidates of each search.
        atlas: data of the atlas behind the plot (None: nothing, empty: the default atlas).
        input_px: side at which models of the zoo are costed (None: their own); at another they have no AP.
        log: takes progress.
    """
    if input_px is not None and (input_px < 64 or input_px % 32):
        raise BadInput(f"--input {input_px} must be a multiple of 32 of at least 64 pixels")
    if top < 1:
        raise BadInput(f"--top {top} must be at least 1: the number of candidates of each search")
    profiles = [load_device(name) for name in dict.fromkeys(devices)]
    _check_names(profiles)
    measurements = [bench_measurements(file) for file in bench]
    rows: list[ComparisonRow] = []
    for subject in subjects:
        log(f"reading {subject}")
        path = Path(subject)
        if path.is_dir() and not is_training(path):
            rows += search_rows(path, top, profiles)
            measurements += [measured for measured in (run_measurements(path),) if measured is not None]
            continue
        trained = path.is_dir() or path.suffix == ".safetensors"
        row = checkpoint_row(path, profiles) if trained else named_row(subject, profiles, input_px)
        rows.append(dataclasses.replace(row, named=subject))
    present = {row.name for row in rows if row.kind == ZOO}
    for card in selected_cards(only):
        if card.model not in present:
            log(f"costing {card.model}")
            rows.append(card_row(card, profiles, input_px))
    if not rows:
        raise BadInput("nothing to compare: name runs or models, or leave --no-zoo out")
    rows, measured_axes, unmatched = attach_measurements(_with_parents(_unique_names(rows)), measurements)
    axes = (*map(_axis, profiles), *measured_axes, *COSTS)
    background = NO_BACKGROUND if atlas is None else read_background(atlas, profiles, log)
    notes = (*unmatched, *([background.note] if background.note else []))
    return Comparison(tuple(rows), axes, _series(rows, bool(background.points)), notes, background)


def _check_names(profiles: Sequence[DeviceProfile]) -> None:
    """Refuse profiles whose names are keys of other axes."""
    taken = {axis.key for axis in COSTS}
    for profile in profiles:
        if profile.name in taken:
            raise BadInput(f"the name {profile.name!r} of a device profile is taken: give it another in its file")
        taken.add(profile.name)


def _axis(profile: DeviceProfile) -> Axis:
    interval = interval_ms(profile, 1.0)
    meaning = "no interval, since the profile states no error" if interval is None else f"interval: {interval.meaning}"
    setup = f"{profile.hardware}; {profile.runtime}; {profile.precision}, batch {profile.batch}"
    return Axis(profile.name, PREDICTED, profile.name, "ms", f"{setup}. {meaning}")


def _series(rows: Sequence[ComparisonRow], published: bool = False) -> tuple[Series, ...]:
    """The published series first, then one per validation set, in order of appearance.

    ``published`` adds the published series, which a background has, even where no row is of it.
    """
    series: dict[str, Series] = {}
    sets_of_data: dict[str, int] = {}
    accuracies = [row.accuracy for row in rows if row.accuracy]
    if published or any(accuracy.series == PUBLISHED for accuracy in accuracies):
        note = "as the authors publish it for their own weights; the source is among each model's notes"
        series[PUBLISHED] = Series(PUBLISHED, "published AP on COCO", note)
    for accuracy in accuracies:
        if accuracy.budget and accuracy.series not in series:
            data = accuracy.budget.data
            sets_of_data[data] = sets_of_data.get(data, 0) + 1
            label = f"own AP on {data}" + (f" ({sets_of_data[data]})" if sets_of_data[data] > 1 else "")
            note = (
                "of weights trained here, on the validation images of the data; the best epoch was chosen on the same "
                "images, which makes it slightly optimistic"
            )
            series[accuracy.series] = Series(accuracy.series, label, note)
    return tuple(series.values())


def _unique_names(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Rows with unique names: repeated ones are numbered, or marked where they are cut."""
    counts: dict[str, int] = {}
    cut: set[str] = set()
    unique = []
    for row in rows:
        counts[row.name] = counts.get(row.name, 0) + 1
        count = counts[row.name]
        name = row.name if count == 1 else f"{row.name} ({count})"
        if count > 1 and row.origin is not None and f"{row.name} (cut)" not in counts and row.name not in cut:
            name = f"{row.name} (cut)"
            counts[name] = 1
        if row.origin is not None:
            cut.add(row.name)
        unique.append(dataclasses.replace(row, name=name))
    return unique


def _with_parents(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Rows of cut networks with the name of their nearest ancestor among the rows, which its file's hash tells."""
    names = {row.sha256: row.name for row in reversed(rows) if row.sha256}
    linked = []
    for row in rows:
        origin = row.origin
        if origin is not None:
            parent = next((names[sha256] for sha256 in origin.ancestors if sha256 in names), "")
            row = dataclasses.replace(row, origin=dataclasses.replace(origin, parent=parent))
        linked.append(row)
    return linked
