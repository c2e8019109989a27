"""``zoo.import_weights``: an official checkpoint file becomes one of our checkpoint files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from workbench.doors.bytes import read_text
from workbench.errors import BadInput, missing_package
from zoo.resolve import resolve_model

MOST_NAME_BYTES = 16 * 2**20
"""Largest file of class names."""


@dataclass(frozen=True, slots=True)
class ImportedWeights:
    """The checkpoint that an import wrote. All its tensors were in the official file; an import with misfits fails."""

    path: Path
    """The checkpoint written."""
    source: Path
    """The official file."""
    model: str
    classes: int
    class_names: tuple[str, ...]
    input_px: int
    params: int
    """Parameters in training form."""
    provenance: Mapping[str, Any]
    """``sha256`` of the official file, ``licence`` of the weights, ``family``, and what the file says of itself."""
    lineage: tuple[Mapping[str, Any], ...]

    @property
    def sha256(self) -> str:
        """Digest of the official file, hexadecimal."""
        return str(self.provenance["sha256"])

    @property
    def licence(self) -> str:
        """Licence of the family's official weights."""
        return str(self.provenance["licence"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "checkpoint": str(self.path),
            "model": self.model,
            "classes": self.classes,
            "class_names": list(self.class_names),
            "input_px": self.input_px,
            "provenance": dict(self.provenance),
            "lineage": [dict(ancestor) for ancestor in self.lineage],
        }

    def __str__(self) -> str:
        classes = "1 class" if self.classes == 1 else f"{self.classes} classes"
        return (
            f"{self.source}: {self.model}, {classes}, {self.params / 1e6:.2f} M parameters in training form, "
            f"all tensors in place\nwrote {self.path}"
        )


def import_weights(
    path: str | Path,
    family: str | None = None,
    architecture: Architecture | str | Path | None = None,
    names: Sequence[str] | str | Path | None = None,
    out: str | Path | None = None,
) -> ImportedWeights:
    """Turn an official checkpoint into one of ours; the twin of ``nas zoo import``. Nothing in the file is executed.

    A tensor that is missing, unexpected or of another shape raises ``BadInput``, and nothing is written.

    Args:
        path: .pt, .pth, .safetensors or .npz file with official tensor names.
        family: family, where the file leaves it open.
        architecture: architecture of a searched detector, or its YAML file or run folder.
        names: class names, or a file with one a line; by default those in the file, else COCO's for 80 classes.
        out: checkpoint to write; by default the file's name with .safetensors, in the current folder.
    """
    try:
        from zoo.weights.checkpoint import save
        from zoo.weights.official import import_official
    except ModuleNotFoundError as error:
        raise missing_package("importing weights", error.name, "torch") from error
    source = Path(path)
    target = Path(out or source.with_suffix(".safetensors").name)
    if target.suffix != ".safetensors":
        raise BadInput(f"--out {str(target)!r} must end in .safetensors")
    if target.exists() and target.resolve() == source.resolve():
        raise BadInput(f"{str(target)!r} would overwrite the file it is made from: give another --out")
    arch = _whole_architecture(architecture) if architecture is not None else None
    class_names = read_names(names) if isinstance(names, (str, Path)) else names
    detector = import_official(path, family, arch, class_names)
    save(detector, target)
    info = detector.info
    return ImportedWeights(
        path=target,
        source=source,
        model=detector.recipe.model,
        classes=detector.classes,
        class_names=info.class_names,
        input_px=info.input_px,
        params=sum(parameter.numel() for parameter in detector.parameters()),
        provenance=info.provenance,
        lineage=info.lineage,
    )


def _whole_architecture(architecture: Architecture | str | Path) -> Architecture:
    """An architecture with neck and head, given itself or by file."""
    arch = architecture if isinstance(architecture, Architecture) else resolve_model(str(architecture)).arch
    if arch is None or arch.head is None:
        what = str(architecture) if isinstance(architecture, (str, Path)) else architecture.name
        raise BadInput(f"--architecture {what!r} is no architecture of a whole detector: it needs neck and head")
    return arch


def read_names(path: str | Path) -> list[str]:
    """Class names from a text file, one a line; empty lines do not count."""
    lines = read_text(path, "--names", MOST_NAME_BYTES).splitlines()
    return [line.strip() for line in lines if line.strip()]
