"""GraphBuilder: writes a Graph op by op, for one candidate or, with arrays in place of ints, for N at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from search_spaces.graph import Graph
from search_spaces.ops import Num, Op


class GraphBuilder:
    """Ops under construction. Channel counts, kernels and counts may be arrays (see ``search_spaces.graph``).

    A tensor is an index into the ops; the builder knows its channels. Every op is named ``scope.name`` and belongs
    to ``part``.
    """

    def __init__(self, in_channels: Num = 3, part: str = "backbone") -> None:
        self.ops: list[Op] = []
        self._channels: list[Num] = []
        self.inputs: list[tuple[Num, ...]] = [(in_channels,)]
        self.part = part
        self.scope: list[str] = []
        self._repeats: Num = 1

    def channels(self, tensor: int) -> Num:
        """Channels of a tensor made so far."""
        return self.inputs[-1 - tensor][0] if tensor < 0 else self._channels[tensor]

    def input(self, channels: Num) -> int:
        """Add a graph input with this number of channels."""
        self.inputs.append((channels,))
        return -len(self.inputs)

    def conv(
        self, x: int, cout: Num, k: Num = 1, s: int = 1, g: Num = 1, act: str = "none", name: str = "conv",
        when: Any = True,
    ) -> int:  # fmt: skip
        """Same-padded convolution with bias (its batch norm folded in); ``x`` itself where ``when`` is False.

        ``when`` is a bool, or a 0/1 array: one value per candidate.
        """
        if when is False:
            return x
        cin = self.channels(x)
        op = Op("conv", (x,), cin, cout, (k, k), (s, s), (k // 2, k // 2), g, act, bias=True)
        return self._push(op, cout, name, when)

    def join(self, kind: str, *tensors: int, name: str = "", when: Any = True) -> int:
        """``add`` (channels of the first) or ``concat`` (sum of channels); the first tensor where ``when`` is False."""
        if when is False:
            return tensors[0]
        channels = self.channels(tensors[0])
        if kind == "concat":
            channels = sum(self.channels(t) for t in tensors)
        return self._push(Op(kind, tuple(tensors)), channels, name or kind, when)

    def single(self, kind: str, x: int, name: str = "", channels: Num | None = None, /, **fields: Any) -> int:
        """Any one-input op; ``k s p`` and a conv's ``cin cout bias`` go to fields, the rest to attrs."""
        shape_fields = {key: fields.pop(key) for key in ("k", "s", "p", "cin", "cout", "bias") if key in fields}
        out = self.channels(x) if channels is None else channels
        return self._push(Op(kind, (x,), attrs=fields, **shape_fields), out, name or kind)

    def times(self, n: Num) -> Iterator[int]:
        """Repeat a body: ``for i in g.times(n)``. For an array of depths the body is written once, with a count."""
        if np.ndim(n) == 0:
            yield from range(int(n))
            return
        outer = self._repeats
        self._repeats = outer * n
        yield 0
        self._repeats = outer

    def finish(self, outputs: Sequence[int] = (), name: str = "", meta: Mapping[str, Any] | None = None) -> Graph:
        """The graph written so far."""
        return Graph(self.ops, self.inputs, outputs, name, meta)

    def _push(self, op: Op, channels: Num, name: str, when: Any = True) -> int:
        count = self._repeats if when is True else self._repeats * when
        label = ".".join([*self.scope, name])
        self.ops.append(dataclasses.replace(op, name=label, part=self.part, count=count))
        self._channels.append(channels)
        return len(self.ops) - 1
