"""Tensors of other projects' detector checkpoints, read without executing anything in the file.

Reads torch files (zip and legacy), .safetensors and .npz. Pickles go through ``zoo.weights.safe_pickle``: nothing in
them runs, and the packages that wrote them are not needed. Every claimed size is checked against the file first.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.lib import format as npy

from workbench.errors import BadInput
from zoo.weights.safe_pickle import DTYPES, MAX_DIMS, InertObject, InertUnpickler, Stored, listed, shown
from zoo.weights.text import one_line

MAX_FILE_BYTES = 16 * 2**30
MAX_TENSORS = 20_000
"""Tensors, and modules visited, in one file."""
MAX_NAME_LENGTH = 1_000
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a torch file older than the zip layout; the second is its version, 1001."""

BIG_ENDIAN = "written on a big-endian machine, whose numbers this one would misread: save it on a little-endian one"
SAFETENSORS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
"""Data type of the safetensors format to torch's name of it."""
READ_ERRORS = (
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, LookupError, ValueError,
    TypeError, AttributeError, ArithmeticError, RuntimeError, AssertionError, MemoryError, tokenize.TokenError,
)  # fmt: skip
"""Exceptions of the standard readers on damaged or hostile files; RecursionError is a RuntimeError."""


@dataclass(frozen=True)
class ForeignCheckpoint:
    """Tensors on the CPU in their stored data type, by their official names, and what else the file says."""

    tensors: dict[str, torch.Tensor]
    source: str
    """Key under which the tensors were: ``ema.module``, ``ema``, ``model``, ``state_dict`` or ``(top level)``."""
    classes: tuple[str, ...] | None
    """Class names, if a pickled model has them."""
    facts: dict[str, Any]
    """Plain scalars at the file's top level: epoch, date, version, licence."""
    sha256: str
    """Digest of the whole file, hexadecimal."""


def read_foreign(path: str | Path) -> ForeignCheckpoint:
    """Weights in a torch file (zip or legacy; plain tensors or a pickled model), a .safetensors or an .npz file."""
    path = Path(path)
    try:
        return _read(path)
    except BadInput as error:
        raise BadInput(one_line(f"{path}: {error}")) from None
    except READ_ERRORS as error:
        reason = f"{type(error).__name__} {error}"
        raise BadInput(one_line(f"{path}: damaged, or not what it claims to be ({reason})")) from error


def check_finite(tensors: Mapping[str, torch.Tensor], except_for: Container[str] = ()) -> None:
    """Refuse NaN, and infinity in tensors whose name is not in ``except_for``; the error names the first one."""
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        values = tensor.float() if tensor.element_size() == 1 else tensor
        if bool(values.isnan().any()):
            raise BadInput(f"tensor {shown(name)} holds NaN: the weights are spoilt, take another checkpoint")
        if name not in except_for and bool(values.isinf().any()):
            raise BadInput(f"tensor {shown(name)} holds infinity, where weights are finite: take another checkpoint")


def _read(path: Path) -> ForeignCheckpoint:
    if not path.exists():
        raise BadInput("no such file")
    if not path.is_file():
        raise BadInput("not a regular file: pass the checkpoint itself")
    if not 0 < path.stat().st_size <= MAX_FILE_BYTES:
        raise BadInput(f"{path.stat().st_size} bytes long, where a checkpoint has 1 to {MAX_FILE_BYTES}")
    # Read at once: the digest is of the very bytes that are parsed, and no claimed length can exceed them.
    data = path.read_bytes()
    classes: tuple[str, ...] | None = None
    facts: dict[str, Any] = {}
    source = "(top level)"
    if path.suffix == ".safetensors" or data[8:9] == b"{":
        tensors, facts = _read_safetensors(data)
    elif data.startswith(b"PK\x03\x04") and (archive := _open_zip(data)):
        if any(name.endswith(".npy") for name in archive.namelist()):
            tensors = _read_npz(archive)
        else:
            tensors, source, classes, facts = _read_torch(*_torch_zip(archive))
    elif data.startswith(b"\x80"):
        tensors, source, classes, facts = _read_torch(*_torch_legacy(data))
    else:
        raise BadInput(f"begins with {data[:8]!r}, which is no torch, .safetensors or .npz file")
    if not tensors:
        raise BadInput("holds no tensors")
    if all(name.startswith("module.") for name in tensors):  # written from inside DistributedDataParallel
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    check_finite(tensors, except_for=tensors)
    return ForeignCheckpoint(tensors, source, classes, facts, hashlib.sha256(data).hexdigest())


# ---- torch files


def _read_torch(
    content: Any, sizes: dict[str, int], fetch: Callable[[str], bytes]
) -> tuple[dict[str, torch.Tensor], str, tuple[str, ...] | None, dict[str, Any]]:
    """Tensors, source, classes and facts of an unpickled file; ``sizes`` of its storages in bytes, ``fetch`` by key."""
    for source, value in _weight_locations(content):
        stored = _tensors_in(value)
        if stored:
            storages = _Storages(sizes, fetch)
            tensors = {name: storages.tensor(name, tensor) for name, tensor in stored.items()}
            entries = content.items() if isinstance(content, dict) else ()
            facts = {key: value for key, value in entries if isinstance(key, str) and _is_scalar(value)}
            return tensors, source, _class_names(value), facts
    keys = listed(list(content)) if isinstance(content, dict) else f"a {type(content).__name__.strip('_')}"
    raise BadInput(f"no weights at ema.module, ema, model, state_dict or the top level, which holds {keys}")


def _weight_locations(content: Any) -> Iterator[tuple[str, Any]]:
    """Keys under which weights may be, best first: authors publish the averaged model (EMA)."""
    if isinstance(content, dict):
        if isinstance(content.get("ema"), dict):
            yield "ema.module", content["ema"].get("module")
        for key in ("ema", "model", "state_dict"):
            yield key, content.get(key)
    yield "(top level)", content


def _is_scalar(value: Any) -> bool:
    return type(value) in (str, int, float, bool)


def _tensors_in(value: Any) -> dict[str, Stored]:
    """Tensors of a pickled module, or of a dict of tensors and scalars only; empty for anything else."""
    if isinstance(value, InertObject):
        return _module_tensors(value) if isinstance(value.get("_modules"), dict) else {}
    if not isinstance(value, dict) or len(value) > MAX_TENSORS:
        return {}
    tensors = {key: item for key, item in value.items() if isinstance(key, str) and isinstance(item, Stored)}
    others = [item for key, item in value.items() if key not in tensors and not str(key).endswith("_extra_state")]
    return tensors if all(item is None or _is_scalar(item) or isinstance(item, InertObject) for item in others) else {}


def _module_tensors(top: InertObject) -> dict[str, Stored]:
    """Tensors by their ``state_dict`` names: parameters and persistent buffers, then children, depth first."""
    tensors: dict[str, Stored] = {}
    stack, visited = [("", top)], 0
    while stack:
        prefix, module = stack.pop()
        visited += 1
        skipped = module.get("_non_persistent_buffers_set") or ()
        children: list[tuple[str, InertObject]] = []
        for group in ("_parameters", "_buffers", "_modules"):
            for name, item in (module.get(group) or {}).items():
                if item is None or (group == "_buffers" and name in skipped):
                    continue
                too_many = visited + len(tensors) > MAX_TENSORS
                if type(name) is not str or len(prefix) + len(name) > MAX_NAME_LENGTH or too_many:
                    raise BadInput(f"its modules nest without end, or there are over {MAX_TENSORS}: refused")
                if group == "_modules" and isinstance(item, InertObject):
                    children.append((f"{prefix}{name}.", item))
                elif group != "_modules" and isinstance(item, Stored):
                    tensors[prefix + name] = item
                else:
                    kind = type(item).__name__.strip("_")
                    raise BadInput(f"{shown(prefix)} has {shown(name)} in {group}, a {kind}: refused")
        stack += reversed(children)
    return tensors


def _class_names(model: Any) -> tuple[str, ...] | None:
    """The ``names`` of a pickled model: a list, or a dict with the keys 0, 1, 2, ..."""
    names = model.get("names") if isinstance(model, InertObject) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if isinstance(names, (list, tuple)) and names and all(type(name) is str for name in names):
        return tuple(names)
    return None


class _Storages:
    """The storages of a torch file; tensors that share a storage in the file share its memory here.

    ``sizes`` are in bytes, ``fetch`` reads a storage's content, both by key.
    """

    def __init__(self, sizes: Mapping[str, int], fetch: Callable[[str], bytes]) -> None:
        self.sizes, self.fetch = sizes, fetch
        self.buffers: dict[str, bytearray] = {}

    def tensor(self, name: str, stored: Stored) -> torch.Tensor:
        """The tensor itself; sizes that exceed the file are refused under its ``name``."""
        key, dtype = stored.storage.key, stored.dtype
        claimed, available = stored.storage.numel * stored.storage.dtype.itemsize, self.sizes.get(key, 0)
        if claimed > available:
            what = f"tensor {shown(name)}: its storage {shown(key)}"
            raise BadInput(f"{what} claims {claimed} bytes, the file has {available}")
        count, numel = claimed // dtype.itemsize, math.prod(stored.size)
        if numel == 0:
            return torch.empty(stored.size, dtype=dtype)
        start = stored.storage.start + stored.offset
        last = start + sum((n - 1) * step for n, step in zip(stored.size, stored.stride, strict=True))
        if last >= count or numel > count:
            what = f"{numel} elements up to element {last} of a storage that has {count}"
            raise BadInput(f"tensor {shown(name)}: {what}")
        if key not in self.buffers:
            self.buffers[key] = bytearray(self.fetch(key))
        storage = torch.frombuffer(self.buffers[key], dtype=dtype, count=count)
        return storage.as_strided(stored.size, stored.stride, start)


def _open_zip(data: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = archive.infolist()
    names = [entry.orig_filename for entry in entries]
    for entry, name in zip(entries, names, strict=True):
        if name.startswith("/") or "\\" in name or name[1:2] == ":" or "\0" in name or ".." in name.split("/"):
            raise BadInput(f"archive entry {shown(name)} points outside the archive: refused")
        if entry.compress_type != zipfile.ZIP_STORED:
            what = f"archive entry {shown(name)} is compressed"
            raise BadInput(f"{what}, where torch.save and numpy.savez store: save it anew")
    if len(set(names)) < len(names) or sum(entry.file_size for entry in entries) > len(data):
        raise BadInput("its archive entries overlap: refused")
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise BadInput(
            "a TorchScript program, whose code would have to be run: pass the checkpoint that it was made from"
        )
    return archive


def _torch_zip(archive: zipfile.ZipFile) -> tuple[Any, dict[str, int], Callable[[str], bytes]]:
    """The unpickled content, the storages' sizes in bytes, and their reader."""
    roots = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise BadInput(f"a zip archive with {len(roots)} data.pkl entries, where a torch file has one")
    root = roots[0]
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise BadInput(BIG_ENDIAN)
    pickled = archive.read(f"{root}data.pkl")
    folder = f"{root}data/"
    sizes = {e.filename.removeprefix(folder): e.file_size for e in archive.infolist() if e.filename.startswith(folder)}
    return InertUnpickler(io.BytesIO(pickled), len(pickled)).load(), sizes, lambda key: archive.read(folder + key)


def _torch_legacy(data: bytes) -> tuple[Any, dict[str, int], Callable[[str], bytes]]:
    """As ``_torch_zip``, from four pickles, a pickled list of keys, and for each an element count and the elements."""
    stream = io.BytesIO(data)
    if InertUnpickler(stream, len(data)).load() != TORCH_MAGIC or InertUnpickler(stream, len(data)).load() != 1001:
        raise BadInput("a pickle, but not one that torch.save wrote")
    system = InertUnpickler(stream, len(data)).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise BadInput(BIG_ENDIAN)
    reader = InertUnpickler(stream, len(data))
    content, keys = reader.load(), InertUnpickler(stream, len(data)).load()
    spans: dict[str, tuple[int, int]] = {}
    at = stream.tell()
    for key in keys:
        if type(key) is not str or key not in reader.item_bytes or key in spans:
            raise BadInput(f"its list of storages has {shown(key)}, which no tensor uses or which came before")
        (numel,) = struct.unpack_from("<q", data, at)
        spans[key] = at + 8, numel * reader.item_bytes[key]
        at += 8 + numel * reader.item_bytes[key]
        if numel < 0 or at > len(data):
            raise BadInput(f"storage {shown(key)} claims {numel} elements, more than the file has left")
    return content, {key: size for key, (_, size) in spans.items()}, lambda key: data[spans[key][0] : sum(spans[key])]


# ---- tensors without a pickle


def _read_safetensors(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors, and the file's own metadata."""
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        raise BadInput(f"its header claims {length} bytes, the file has {len(data) - 8}")
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    if not isinstance(header, dict):
        raise BadInput("its header is no table of tensors")
    facts = {key: value for key, value in dict(header.pop("__metadata__", {})).items() if _is_scalar(value)}
    if len(header) > MAX_TENSORS:
        raise BadInput(f"{len(header)} tensors, the most is {MAX_TENSORS}")
    tensors, covered = {}, 0
    for name, entry in header.items():
        if entry["dtype"] not in SAFETENSORS:
            raise BadInput(f"tensor {shown(name)} has type {shown(entry['dtype'])}; known: {', '.join(SAFETENSORS)}")
        dtype, shape, (begin, end) = DTYPES[SAFETENSORS[entry["dtype"]]], entry["shape"], entry["data_offsets"]
        if len(shape) > MAX_DIMS or not all(type(n) is int and 0 <= n < 2**62 for n in (*shape, begin, end)):
            place = f"at bytes {shown(begin)} to {shown(end)}"
            raise BadInput(f"tensor {shown(name)} has shape {listed(shape)} {place}: refused")
        if end > len(body) or end - begin != math.prod(shape) * dtype.itemsize:
            place = f"lies at bytes {begin} to {end} of {len(body)}"
            raise BadInput(f"tensor {shown(name)} of shape {listed(shape)} {place}: refused")
        tensors[name] = _from_bytes(body[begin:end], dtype, shape)
        covered += end - begin
        if covered > len(body):
            raise BadInput("its tensors overlap: refused")
    return tensors, facts


def _read_npz(archive: zipfile.ZipFile) -> dict[str, torch.Tensor]:
    tensors = {}
    for entry in archive.namelist():
        stream = io.BytesIO(archive.read(entry))
        version = npy.read_magic(stream)
        shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
        name, body, known = entry.removesuffix(".npy"), stream.read(), DTYPES.get(str(dtype))
        if known is None:
            raise BadInput(f"tensor {shown(name)} has type {shown(str(dtype))}; known: {', '.join(DTYPES)}")
        if len(shape) > MAX_DIMS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(body):
            raise BadInput(f"tensor {shown(name)} of shape {listed(shape)} has {len(body)} bytes: refused")
        tensor = _from_bytes(body, known, shape[::-1] if fortran else shape)
        tensors[name] = tensor.permute(*range(len(shape))[::-1]).contiguous() if fortran and len(shape) > 1 else tensor
    return tensors


def _from_bytes(body: bytes | memoryview, dtype: torch.dtype, shape: Iterable[int]) -> torch.Tensor:
    """A tensor of ``shape`` that owns its elements."""
    shape = tuple(shape)
    if not len(body):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(body), dtype=dtype).reshape(shape)
