"""Which measurements serve: by the words of their device, runtime, precision, protocol, source and family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from nas.devices.measured.measurement import Measurement
from workbench.errors import BadInput, unknown_name


@dataclass(frozen=True)
class Selection:
    """Conditions on measurements; an empty one holds for all.

    A text holds where its letters and digits stand in the measurement's text as whole words, whatever is between them:
    ``raspberrypi5`` and ``Raspberry Pi 5`` are the same, ``T4`` holds for ``NVIDIA T4``. A text that begins with ``=``
    must be all of it. ``|`` stands between alternatives.
    """

    device: str = ""
    runtime: str = ""
    """Name, version and threads, as in ``ONNX Runtime 1.27.0, 2 threads``."""
    precision: str = ""
    protocol: str = ""
    source: str = ""
    family: str = ""
    batch: int = 1
    """Images a run; a measurement that does not state its batch counts as 1."""

    @staticmethod
    def parse(texts: Iterable[str]) -> Selection:
        """From ``KEY=TEXT``, several with commas between or one after the other."""
        chosen: dict[str, str | int] = {}
        names = [entry.name for entry in fields(Selection)]
        for part in (part.strip() for text in texts for part in re.split(r",(?=\s*\w+=)", text)):
            key, equals, value = part.partition("=")
            if not equals or not value.strip():
                raise BadInput(f"--select {part!r} must be KEY=TEXT, with a key of {', '.join(names)}")
            if key.strip() not in names:
                raise unknown_name("key of --select", key.strip(), names)
            if key.strip() in chosen:
                raise BadInput(f"--select {key.strip()} is given twice: put | between alternatives")
            chosen[key.strip()] = value.strip()
        if "batch" in chosen:
            batch = str(chosen["batch"])
            if not batch.isdecimal() or int(batch) < 1:
                raise BadInput(f"--select batch={batch} must be a whole number of at least 1")
            chosen["batch"] = int(batch)
        return Selection(**chosen)  # type: ignore[arg-type]

    def names_device(self) -> bool:
        """Whether it says which device, runtime or precision is meant."""
        return bool(self.device or self.runtime or self.precision)

    def holds(self, row: Measurement) -> bool:
        """Whether a measurement is chosen."""
        texts = (
            (self.device, row.device.hardware),
            (self.runtime, row.runtime.text(row.device.processor)),
            (self.precision, row.runtime.precision),
            (self.protocol, row.protocol.text()),
            (self.source, row.source),
            (self.family, row.family),
        )
        return (row.batch or 1) == self.batch and all(text_holds(wanted, text) for wanted, text in texts)


def text_holds(wanted: str, text: str) -> bool:
    """Whether ``text`` has the words of one of the alternatives in ``wanted``."""
    if not wanted.strip():
        return True
    return any(_one_holds(alternative.strip(), text) for alternative in wanted.split("|"))


def _one_holds(wanted: str, text: str) -> bool:
    words = re.findall(r"\w+", text.lower().replace("_", " "))
    if wanted.startswith("="):
        return _squashed(wanted) == "".join(words)
    target = _squashed(wanted)
    return any(
        "".join(words[first:last]) == target for first in range(len(words)) for last in range(first + 1, len(words) + 1)
    )


def _squashed(text: str) -> str:
    return "".join(re.findall(r"\w+", text.lower().replace("_", " ")))


def one_setting(rows: Sequence[Measurement], select: Selection) -> None:
    """Refuse rows of several devices, runtimes or precisions that were not chosen by name: one profile is for one."""
    settings = {
        (
            "" if select.device else _squashed(row.device.hardware),
            "" if select.runtime else _squashed(row.runtime.name),
            "" if select.precision else row.runtime.precision.upper().split(" ")[0],  # without "(default)"
        ): row
        for row in rows
    }
    if len(settings) > 1:
        shown = [f"device={r.device.hardware},runtime={r.runtime.name},precision={r.runtime.precision}"
                 for r in list(settings.values())[:3]]  # fmt: skip
        raise BadInput(
            f"the data hold {len(settings)} combinations of device, runtime and precision: choose with --select, for "
            f"instance {'; '.join(shown)}"
        )
