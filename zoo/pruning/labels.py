"""ChannelTracer: follows every channel through a forward pass, to see which of them must be removed together.

Every channel of every parameter gets a number, its *label*. A traced tensor has a tensor of labels of the same shape;
functions that move data move the labels in the same way, and functions that combine channels record *ties*: pairs of
labels that must be removed together. Nothing is computed but shapes and labels, so the network can be on the meta
device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from workbench.errors import BadInput
from zoo.graphs.tracer import Call, tensors_in
from zoo.layers import Split

NONE = -1
"""Label of numbers that are no channels: the image, coordinates, constants."""


@dataclass(slots=True)
class Labels:
    """Labels of one tensor. ``rows`` has its shape; ``cols`` too, for weights, whose second axis are input channels."""

    rows: Tensor
    cols: Tensor | None = None


class ChannelTracer(TorchFunctionMode):
    """Labels the descendants of ``image`` while ``module`` runs, and records ties."""

    def __init__(self, module: nn.Module, image: Tensor, rules: Mapping[str, LabelRule]) -> None:
        super().__init__()
        self.module, self.rules = module, rules
        self.names = {id(value): name for name, value in _named_tensors(module)}
        self.axes: dict[str, dict[int, Tensor]] = {}
        """Name of every parameter and buffer that the pass used to the labels along its axes."""
        self.known: dict[int, tuple[Labels, Tensor]] = {}
        self.splits: dict[str, list[np.ndarray]] = {}
        """Path of every ``Split`` to the labels of its parts."""
        self.calls: list[tuple[str, str, Labels]] = []
        """Module path, ``in`` or ``out``, and labels, for every call of a module."""
        self.path: list[str] = []
        self.count = 0
        self._ties: list[np.ndarray] = []
        self._components: tuple[int, int, np.ndarray] = (0, 0, np.zeros(0, dtype=np.int64))
        self.set(image, torch.full((1,), NONE, device="cpu").expand(image.shape))

    def new_labels(self, count: int) -> Tensor:
        """``count`` labels that were not used before, int64 ``[count]``."""
        self.count += count
        return torch.arange(self.count - count, self.count, device="cpu")

    def knows(self, value: Any) -> bool:
        """Whether ``value`` is a labelled tensor."""
        return isinstance(value, Tensor) and id(value) in self.known

    def labels(self, value: Tensor) -> Labels:
        """The labels of a traced tensor or a parameter; parameters get theirs when they are first used.

        A vector has labels along its only long axis, every other parameter is a weight.
        """
        if id(value) not in self.known:
            long = [axis for axis, extent in enumerate(value.shape) if extent > 1]
            if len(long) > 1:
                self._label_parameter(value, 0, 1)
            elif value.ndim:
                self._label_parameter(value, long[0] if long else 0)
            else:
                self.set(value, torch.full((), NONE, device="cpu"))
        return self.known[id(value)][0]

    def is_labelled(self, value: Any) -> bool:
        """Whether ``value`` is a traced tensor, a parameter or a buffer."""
        return isinstance(value, Tensor) and (id(value) in self.known or id(value) in self.names)

    def _label_parameter(self, value: Tensor, *axes: int) -> None:
        """New labels along one axis, or along two: output and input channels."""
        shape = tuple(value.shape)
        labels = {axis: self.new_labels(shape[axis]) for axis in axes}
        self.axes[self.names[id(value)]] = labels
        self.set(value, *(_along(labels[axis], axis, shape) for axis in axes))

    def weight_labels(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Labels of the output channels ``[cout]`` and of the input channels ``[cin / groups]`` of a weight."""
        if id(weight) not in self.known:
            self._label_parameter(weight, 0, 1)
        labels = self.known[id(weight)][0]
        assert labels.cols is not None
        return labels.rows.flatten(1)[:, 0], labels.cols[0].reshape(weight.shape[1], -1)[:, 0]

    def set(self, tensor: Tensor, rows: Tensor, cols: Tensor | None = None) -> None:
        """Label a tensor, which is kept alive so that its identity stays its own."""
        if rows.shape != tensor.shape:
            raise AssertionError(f"labels {tuple(rows.shape)} for a tensor {tuple(tensor.shape)}")
        self.known[id(tensor)] = (Labels(rows, cols), tensor)

    def tie(self, a: Tensor, b: Tensor) -> None:
        """Record that equal positions of ``a`` and ``b`` (broadcast) are removed together; ``NONE`` ties nothing."""
        a, b = torch.broadcast_tensors(a, b)
        a, b = compact(a, b)
        left, right = a.reshape(-1).numpy(), b.reshape(-1).numpy()
        used = (left >= 0) & (right >= 0) & (left != right)
        if used.any():
            self._ties.append(np.unique((left[used] << 32) | right[used]))

    def merge(self, labels: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Tie all labels along ``axes``; the labels with these axes reduced to length 1."""
        first = labels
        for axis in axes:
            index = [slice(None)] * first.ndim
            index[axis] = slice(0, 1)
            lead = first[tuple(index)]
            self.tie(lead, first)
            first = lead
        return first

    def ties(self) -> np.ndarray:
        """All ties, int64 ``[n, 2]``."""
        pairs = np.concatenate(self._ties) if self._ties else np.zeros(0, dtype=np.int64)
        return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], 1)

    def components(self) -> np.ndarray:
        """For every label, the number of the set of labels that is removed together with it, int64 ``[labels]``."""
        from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
        from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

        state = (self.count, len(self._ties))
        if self._components[:2] == state:
            return self._components[2]
        ties, n = self.ties(), self.count
        graph = coo_matrix((np.ones(len(ties), dtype=np.int8), (ties[:, 0], ties[:, 1])), shape=(n, n))
        components = np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
        self._components = (*state, components)
        return components

    def varies(self, labels: Tensor, axis: int) -> bool:
        """Whether channels along ``axis`` can be removed one by one, as far as the ties so far say."""
        if labels.shape[axis] == 1 or labels.stride(axis) == 0:
            return False
        (lean,) = compact(labels)
        if not (lean != lean.narrow(axis, 0, 1)).any():
            return False
        roots = torch.as_tensor(np.append(self.components(), NONE), device="cpu")[lean]
        return bool((roots != roots.narrow(axis, 0, 1)).any())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record inputs and outputs of every module while the network runs."""
        handles = []
        for path, part in self.module.named_modules():
            handles.append(part.register_forward_pre_hook(self._before(path), with_kwargs=True))
            handles.append(part.register_forward_hook(self._after(path)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.path.append(path)
            for value in tensors_in([args, kwargs]):
                if self.knows(value):
                    self.calls.append((path, "in", self.labels(value)))

        return hook

    def _after(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            self.path.pop()
            parts = [self.labels(value) for value in tensors_in(out) if self.knows(value)]
            self.calls += [(path, "out", labels) for labels in parts]
            if isinstance(module, Split):
                self.splits[path] = [labels.rows[0, :, 0, 0].numpy() for labels in parts]

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not any(True for _ in tensors_in(out)) or not any(self.is_labelled(v) for v in tensors_in([args, kwargs])):
            return out
        name = getattr(func, "__name__", str(func))
        if name in IGNORED or name.startswith("__set"):
            return out
        if name not in self.rules:
            where = self.path[-1] if self.path else "the module"
            raise BadInput(f"{where} calls torch function {name!r}, through which channels cannot be followed yet")
        self.rules[name](self, func, Call(*args, **kwargs), out)
        return out


LabelRule: TypeAlias = "Callable[[ChannelTracer, Any, Call, Any], None]"
"""Labels the result of one torch function: tracer, the function, its arguments, its result."""

IGNORED = frozenset(
    {"dim", "size", "__get__", "is_floating_point", "zeros_like", "ones_like", "new_zeros", "full_like"}
)
"""Functions whose results depend on the shape of their argument alone."""


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _along(labels: Tensor, axis: int, shape: tuple[int, ...]) -> Tensor:
    """``labels`` ``[n]`` on ``axis`` of a tensor of ``shape``, repeated along the others."""
    view = [1] * len(shape)
    view[axis] = -1
    return labels.view(view).expand(shape)


def compact(*tensors: Tensor) -> list[Tensor]:
    """The tensors, of equal shape, without the axes along which all of them only repeat themselves."""
    shape = tensors[0].shape
    index = tuple(
        slice(0, 1) if extent > 1 and all(t.stride(axis) == 0 for t in tensors) else slice(None)
        for axis, extent in enumerate(shape)
    )
    return [t[index] for t in tensors]
