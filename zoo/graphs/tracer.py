"""Tracer: records as Ops what torch functions do to the descendants of one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_spaces.graph import Graph
from search_spaces.ops import DECODE_PART, Op
from workbench.errors import BadInput
from zoo.graphs.fuse import fuse_traced

PARTS = ("backbone", "neck", "head")
"""Top-level modules whose ops are marked as a part."""


class Call:
    """Arguments of one torch function: ``call(1, "dim", 0)`` is the second one, also by its name, else 0."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def __call__(self, position: int, name: str = "", default: Any = None) -> Any:
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name or "input", default)


class Tracer(TorchFunctionMode):
    """Records the functions of ``rules`` that touch one image or what is computed from it.

    Tensors are known by identity and kept alive while tracing.
    """

    def __init__(self, module: nn.Module, image: Tensor, rules: Mapping[str, Rule]) -> None:
        super().__init__()
        self.module, self.image, self.rules = module, image, rules
        self.ops: list[Op] = []
        self.known: dict[int, tuple[int, Tensor]] = {id(image): (-1, image)}
        self.owners: dict[int, int] = {}
        self.stack: list[str] = []
        self.part = ""

    @property
    def scope(self) -> str:
        """Path of the running module."""
        return self.stack[-1] if self.stack else ""

    def index(self, tensor: Tensor) -> int:
        """Index of the op that computed ``tensor``."""
        if id(tensor) not in self.known:
            module = type(self.module).__name__
            raise BadInput(f"an output of {module} does not depend on the image: it cannot be traced")
        return self.known[id(tensor)][0]

    def knows(self, value: Any) -> bool:
        """Whether ``value`` is a tensor that depends on the image."""
        return isinstance(value, Tensor) and id(value) in self.known

    def add(self, kind: str, inputs: Sequence[Tensor], out: Tensor, /, **fields: Any) -> None:
        """Record one op; fields of ``Op`` by name, all others become its attrs."""
        op_fields = {k: fields.pop(k) for k in ("cin", "cout", "k", "s", "p", "g", "act", "bias") if k in fields}
        sources = tuple(self.index(tensor) for tensor in inputs)
        self.ops.append(Op(kind, sources, name=self.scope, part=self.part, attrs=fields, **op_fields))
        self.known[id(out)] = (len(self.ops) - 1, out)

    def tie(self, weight: Tensor) -> dict[str, int]:
        """``tied_to`` where an earlier op already has this weight."""
        owner = self.owners.setdefault(id(weight), len(self.ops))
        return {} if owner == len(self.ops) else {"tied_to": owner}

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Track the path of the running module, and the part of the detector that it belongs to."""
        handles = []
        for path, part in self.module.named_modules():
            if path:
                handles.append(part.register_forward_pre_hook(self._enter(path)))
                handles.append(part.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            if not self.stack and self.part != DECODE_PART:
                top = path.split(".")[0]
                self.part = top if top in PARTS else ""
            self.stack.append(path)

        return hook

    def _leave(self, module: nn.Module, inputs: Any, out: Any) -> None:
        self.stack.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        touches_image = any(self.knows(value) for value in tensors_in([args, kwargs]))
        if not touches_image or not any(True for _ in tensors_in(out)):
            return out
        name = getattr(func, "__name__", str(func))
        if name not in self.rules:
            where = self.scope or "the module"
            raise BadInput(f"{where} calls torch function {name!r}, which has no place in a Graph yet")
        self.rules[name](self, Call(*args, **kwargs), out)
        return out

    def graph(self, outputs: Sequence[int], name: str, meta: dict[str, Any] | None = None) -> Graph:
        """The recorded graph, with activations joined and unread ops dropped."""
        bound = any("shape" in op.attrs for op in self.ops)
        inputs = (tuple(self.image.shape[1:]) if bound else (3,),)
        return fuse_traced(Graph(self.ops, inputs, outputs, name, meta))


Rule: TypeAlias = "Callable[[Tracer, Call, Any], None]"
"""Records one torch function: tracer, its arguments, its result."""


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
