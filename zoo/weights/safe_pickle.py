"""A pickle reader that imports nothing the pickle names and calls nothing in it.

A name is one of the builders below, a storage or data type, or a known model class, whose objects become
``InertObject`` with their attributes; any other name is refused. Claimed sizes are checked before memory is allocated.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from workbench.errors import BadInput
from zoo.weights.text import shorten

STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
"""Data type of each storage class; the size of an untyped storage is in bytes."""

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in {*STORAGES.values(), "float8_e4m3fn", "float8_e5m2", "uint64", "uint32", "uint16"}
}
"""Data types by their torch name."""

MAX_DIMS = 16

# Packages of model classes and of other objects in checkpoints. Nothing of them is loaded, so the list is no security
# measure by itself: it distinguishes a checkpoint from a file with other content.
INERT_PREFIXES = (
    "torch.nn.", "torch.optim.", "torchvision.", "timm.", "pytorch_lightning.", "lightning.", "omegaconf.", "easydict.",
    "yacs.", "models.", "utils.", "src.", "ultralytics.", "yolox.", "yolo.", "yolov5.", "yolov6.", "yolov7.", "damo.",
    "nanodet.", "mmcv.", "mmdet.", "mmengine.", "mmyolo.", "__main__.",
)  # fmt: skip
INERT_NAMES = frozenset(
    [f"builtins.{name}" for name in ("object", "int", "float", "str", "bool", "type")]
    + [f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")]
    + [f"pathlib.{kind}{name}" for kind in ("", "Pure") for name in ("Path", "PosixPath", "WindowsPath")]
    + [f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")]
    + [f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")]
    + [f"numpy.{name}" for name in ("dtype", "ndarray", "float64", "float32", "int64", "int32", "bool_")]
    + ["argparse.Namespace", "types.SimpleNamespace", "collections.deque", "copyreg._reconstructor", "enum.Enum"]
    + ["torch.device", "torch.Tensor", "torch.torch_version.TorchVersion"]
)
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(frozen=True, eq=False)
class Storage:
    """A storage of ``numel`` elements in the file; a view of it begins at element ``start``."""

    dtype: torch.dtype
    key: str
    numel: int
    start: int = 0


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor not yet read: a strided view of a storage, offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class InertName:
    """A class or function that a pickle names. ``build`` makes its value, by default an ``InertObject``."""

    text: str
    build: Callable[..., Any] | None = None


class InertObject:
    """An object of a class that is not loaded; its attributes are stored, not interpreted."""

    def __init__(self, name: InertName) -> None:
        self.name = name
        self.states: list[dict] = []

    def get(self, attribute: str) -> Any:
        return next((state[attribute] for state in reversed(self.states) if attribute in state), None)


def _key(key: Any, depth: int = 0) -> Any:
    """A dict key or set member of bounded nesting: hashing an endless one would crash the interpreter."""
    if isinstance(key, tuple) and depth < 2 and len(key) <= 16:
        for part in key:
            _key(part, depth + 1)
    elif not isinstance(key, (str, bytes, int, float, complex, type(None), InertObject, InertName, torch.dtype)):
        raise BadInput(f"a dict or set in its pickle is keyed by a {type(key).__name__}: refused")
    return key


def _dict(pairs: Any = ()) -> dict:
    return {_key(key): value for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


def _default_dict(factory: object = None, pairs: Any = ()) -> dict:
    return _dict(pairs)


def _set(members: Iterable = ()) -> set:
    return {_key(member) for member in members}


def _bytes(content: Any = b"", encoding: str = "latin1") -> bytes:
    if isinstance(content, str) and encoding == "latin1":
        return content.encode("latin1")
    if not isinstance(content, (bytes, bytearray)):
        raise BadInput(f"bytes made from {shown(content)}: refused")
    return bytes(content)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any, dtype: torch.dtype | None = None) -> Stored:
    """``_rebuild_tensor`` and ``_v2``, whose rest is requires_grad, hooks and the conj and neg bits."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Storage) or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
        raise BadInput(f"a tensor of size {listed(size)}, offset {shown(offset)}, strides {listed(stride)}: refused")
    if len(size) != len(stride) or len(size) > MAX_DIMS or math.prod(max(n, 1) for n in size) >= 2**62:
        raise BadInput(f"a tensor of size {listed(size)} with strides {listed(stride)}: refused")
    if rest[2:] and rest[2]:
        raise BadInput("a tensor with its conjugate or negative bit set: resolve it before saving")
    return Stored(storage, offset, tuple(size), tuple(stride), dtype or storage.dtype)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> Stored:
    if not isinstance(dtype, torch.dtype):
        raise BadInput(f"a tensor of type {shown(dtype)}: refused")
    return _tensor(storage, offset, size, stride, grad, hooks, *rest, dtype=dtype)


def _tensor_of_type(build: Any, kind: Any, args: Any, state: Any = None) -> Stored:
    """``torch._tensor._rebuild_from_type_v2``: a tensor with attributes."""
    if build is not BUILDERS["torch._utils._rebuild_tensor_v2"]:
        raise BadInput(f"a tensor rebuilt by {shown(getattr(build, 'text', build))}: refused")
    return _tensor(*args)


def _parameter(tensor: Any, *rest: Any) -> Stored:
    if not isinstance(tensor, Stored):
        raise BadInput(f"a parameter made from a {type(tensor).__name__}: refused")
    return tensor


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dict, "collections.Counter": _dict, "collections.defaultdict": _default_dict,
    "builtins.dict": _dict, "builtins.set": _set, "builtins.frozenset": _set, "builtins.list": list,
    "builtins.tuple": tuple, "builtins.slice": slice, "builtins.complex": complex, "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "_codecs.encode": _bytes, "torch.Size": tuple, "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor, "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter, "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _tensor_of_type,
}  # fmt: skip
BUILDERS = {text: InertName(text, build) for text, build in FUNCTIONS.items()}


class InertUnpickler(pickle._Unpickler):
    """Reads a pickle into plain containers, ``Stored`` tensors and inert objects.

    It extends the standard library's reader in Python: the one in C can be made to reserve memory by a memo index
    alone. ``length`` is that of the pickle or its file in bytes; a valid pickle never copies more list entries.
    """

    dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)
    # attributes of the standard reader that its stubs leave out
    stack: list[Any]
    pop_mark: Callable[[], list]
    read: Callable[[int], bytes]

    def __init__(self, stream: io.BytesIO, length: int) -> None:
        super().__init__(stream, encoding="utf-8")
        self.copies_left = length
        self.item_bytes: dict[str, int] = {}
        """Element size in bytes of each storage read, by key."""

    def find_class(self, module: str, name: str) -> Any:
        text = f"{PYTHON_2.get(module, module)}.{name}"
        if "." not in name:
            if text in BUILDERS:
                return BUILDERS[text]
            if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
                return InertName(name)
            if module == "torch" and name in DTYPES:
                return DTYPES[name]
            if text in INERT_NAMES or text.startswith(INERT_PREFIXES):
                return InertName(text)
        raise BadInput(
            f"its pickle names {shown(f'{module}.{name}')}, which is neither a tensor builder nor a model class: "
            "refused, and nothing was run; pass the weights alone, as a dict of tensors or .safetensors"
        )

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and pid[:1] == ("module",) and len(pid) == 4:  # legacy: class, file, source text
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise BadInput("its pickle refers to something outside it that is no storage: refused")
        kind, key, _, numel, *views = pid[1:]
        view = views[0] if views and views[0] is not None else (None, 0, 0)
        dtype = DTYPES.get(STORAGES.get(getattr(kind, "text", ""), ""))
        valid = all(type(n) is int and 0 <= n < 2**62 for n in (numel, view[1]))
        if dtype is None or type(key) is not str or not valid:
            raise BadInput(f"a storage of {shown(numel)} {shown(getattr(kind, 'text', kind))} elements: refused")
        self.item_bytes[key] = dtype.itemsize
        return Storage(dtype, key, numel, view[1])

    def make(self, named: Any, args: Any) -> Any:
        """The value of calling ``named``."""
        if not isinstance(named, InertName) or not isinstance(args, tuple):
            raise BadInput(f"its pickle calls a {type(named).__name__}: refused")
        if named.build is None:
            return InertObject(named)
        containers = (str, bytes, bytearray, list, tuple, dict, set)
        self.copies_left -= sum(len(arg) for arg in args if isinstance(arg, containers))
        if self.copies_left < 0:
            raise BadInput("its pickle copies more than it holds: refused")
        return named.build(*args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.make(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_reduce()

    def load_inst(self) -> None:
        super().load_global()  # type: ignore[misc]
        raise BadInput("its pickle is of a layout older than torch: refused")

    def load_build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], InertObject):
            # attributes, or a pair of attributes and slots
            parts = state if isinstance(state, tuple) else (state,)
            self.stack[-1].states += [part for part in parts if isinstance(part, dict)]
        elif not isinstance(self.stack[-1], dict):  # the attribute _metadata of a state_dict is ignored
            raise BadInput(f"its pickle sets attributes of a {type(self.stack[-1]).__name__}: refused")

    def extend(self, items: list) -> None:
        """Extend the container on top of the stack; items of an ``InertObject`` are ignored."""
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(_dict(zip(items[::2], items[1::2], strict=True)))
        elif isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(_set(items))
        elif not isinstance(target, InertObject):
            raise BadInput(f"its pickle adds to a {type(target).__name__}: refused")

    def load_extend(self) -> None:
        self.extend(self.pop_mark())

    def load_append(self) -> None:
        self.extend([self.stack.pop()])

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.extend([key, value])

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self.extend(items)

    def load_frozenset(self) -> None:
        self.stack.append(_set(self.pop_mark()))

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(length)))

    def load_refused(self) -> None:
        raise BadInput("its pickle uses an instruction that no checkpoint needs: refused")

    # Only the standard reader's handlers of numbers, text, tuples and the memo remain.
    for _codes, _handler in (
        ((pickle.REDUCE, pickle.NEWOBJ), load_reduce), ((pickle.NEWOBJ_EX,), load_newobj_ex),
        ((pickle.INST,), load_inst),
        ((pickle.BUILD,), load_build), ((pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS), load_extend),
        ((pickle.APPEND,), load_append), ((pickle.SETITEM,), load_setitem), ((pickle.DICT,), load_dict),
        ((pickle.FROZENSET,), load_frozenset), ((pickle.BYTEARRAY8,), load_bytearray8),
        (
            (
                pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.NEXT_BUFFER,
                pickle.READONLY_BUFFER,
            ),
            load_refused,
        ),
    ):  # fmt: skip
        for _code in _codes:
            dispatch[_code[0]] = _handler


def shown(value: object) -> str:
    """A value of a file for an error message."""
    return shorten(ascii(value) if isinstance(value, (str, int, bytes)) else type(value).__name__)


def listed(numbers: Any) -> str:
    """The first values of a sequence for an error message."""
    return f"({', '.join(shown(n) for n in numbers[:8])})" if isinstance(numbers, (tuple, list)) else shown(numbers)
