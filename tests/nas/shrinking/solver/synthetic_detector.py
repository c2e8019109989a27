"""Synthetic channel-pruning problems with the wiring of detectors: residual stages, splits, concatenations, a PAN neck.

Widths, costs and values are drawn; only the wiring and the shape of the cost (rounding up, a roofline) imitate a real
detector.
"""

from __future__ import annotations

import numpy as np

from nas.shrinking.solver.problem import Factor, LinearForm, Problem, Variable, form_values

COSTS = ("latency", "flops", "parameters")

Level = tuple[LinearForm, int, int]
"""Features, their most channels, their pixels."""


class SyntheticDetector:
    """Grows a problem layer by layer; every method returns the form of the features that it makes."""

    def __init__(self, seed: int, states: int = 9, align: int = 8) -> None:
        self.random = np.random.default_rng(seed)
        self.states, self.align = states, align
        self.variables: list[Variable] = []
        self.factors: list[Factor] = []

    def group(self, channels: int, importance: float = 1.0) -> LinearForm:
        """A new channel group of at most ``channels``, with a concave value that is 0 for the fewest."""
        grid = np.linspace(channels / self.states, channels, self.states)
        widths = sorted({max(self.align, round(width / self.align) * self.align) for width in grid})
        index = len(self.variables)
        self.variables.append(Variable(f"g{index}", tuple(widths)))
        form = LinearForm(((index, 1),))
        power = self.random.uniform(0.2, 0.9)
        scale = importance * self.random.lognormal(0.0, 0.7)
        kept = (np.array(widths) / channels) ** power
        self.factors.append(Factor((form,), value=scale * (kept - kept[0]) / (1.0001 - kept[0])))
        return form

    def conv(self, source: LinearForm, target: LinearForm, kernel: int, pixels: int) -> LinearForm:
        """A convolution between two forms: parameters, FLOPs and a latency that rounds up and has a roofline."""
        cin, cout = (form_values(form, self.variables)[:, None] for form in (source, target))
        cout = cout.T
        macs = cin * cout * kernel * kernel * pixels
        lanes = -(-cout // 64) * 64 if self.align >= 8 else cout
        deep = -(-cin * kernel * kernel // 32) * 32
        compute = lanes * deep * pixels / 4.0e4
        memory = (cin + cout) * pixels * 2 / 300.0 + cin * cout * kernel * kernel * 2 / 300.0
        latency = 2000 + np.round(np.maximum(compute, memory) + 0.1 * np.minimum(compute, memory)).astype(np.int64)
        costs = {"latency": latency, "flops": 2 * macs, "parameters": cin * cout * kernel * kernel}
        self.factors.append(Factor((source, target), costs))
        return target

    def concat(self, *forms: LinearForm) -> LinearForm:
        return LinearForm(tuple(term for form in forms for term in form.terms))

    def split_block(self, source: LinearForm, channels: int, depth: int, pixels: int, residual: bool) -> LinearForm:
        """CSP with all intermediate features concatenated (C2f)."""
        first, second = self.group(channels // 2), self.group(channels // 2)
        self.conv(source, first, 1, pixels)
        self.conv(source, second, 1, pixels)
        branches, last = [first, second], second
        for _ in range(depth):
            hidden = self.conv(last, self.group(channels // 2), 3, pixels)
            last = self.conv(hidden, last if residual else self.group(channels // 2), 3, pixels)
            branches.append(last)
        return self.conv(self.concat(*branches), self.group(channels), 1, pixels)

    def elan_block(self, source: LinearForm, channels: int, depth: int, pixels: int) -> LinearForm:
        """Two 1x1 branches, a chain of 3x3 convolutions, every second one concatenated (ELAN)."""
        width = max(self.align * 2, channels // 4)
        first = self.conv(source, self.group(width), 1, pixels)
        last = self.conv(source, self.group(width), 1, pixels)
        branches = [first, last]
        for number in range(depth):
            last = self.conv(last, self.group(width), 3, pixels)
            if number % 2:
                branches.append(last)
        return self.conv(self.concat(*branches), self.group(channels), 1, pixels)

    def block(self, source: LinearForm, channels: int, depth: int, pixels: int, number: int) -> LinearForm:
        """ELAN, C2f with residual bottlenecks and C2f without, in turn."""
        if number % 3 == 0:
            return self.elan_block(source, channels, 2 * min(depth, 4), pixels)
        return self.split_block(source, channels, depth, pixels, residual=number % 3 == 1)

    def path_neck(self, levels: list[Level], depth: int, seed: int) -> tuple[LinearForm, ...]:
        """Pooling with a concatenation, then top-down and bottom-up paths that share two levels (PAN)."""
        (p3, c3, s3), (p4, c4, s4), (p5, c5, s5) = levels
        pooled = self.conv(p5, self.group(c5 // 2), 1, s5)
        p5 = self.conv(LinearForm(((pooled.terms[0][0], 4),)), self.group(c5), 1, s5)
        n4 = self.block(self.concat(p5, p4), c4, depth, s4, 1 + seed)
        n3 = self.block(self.concat(n4, p3), c3, depth, s3, 2 + seed)
        o4 = self.block(self.concat(self.conv(n3, self.group(c3), 3, s4), n4), c4, depth, s4, 3 + seed)
        o5 = self.block(self.concat(self.conv(o4, self.group(c4), 3, s5), p5), c5, depth, s5, 4 + seed)
        return n3, o4, o5

    def giraffe_neck(self, levels: list[Level], depth: int, seed: int) -> tuple[LinearForm, ...]:
        """Concatenations of up to four levels, each level used up to four times (generalized FPN)."""
        (p3, c3, s3), (p4, c4, s4), (p5, c5, s5) = levels
        n5 = self.block(self.concat(p5, self.conv(p4, self.group(c4), 3, s5)), c5, depth, s5, seed)
        n4 = self.block(self.concat(n5, p4, self.conv(p3, self.group(c3), 3, s4)), c4, depth, s4, 1 + seed)
        o3 = self.block(self.concat(n4, p3), c3, depth, s3, 2 + seed)
        o4 = self.block(self.concat(self.conv(o3, self.group(c3), 3, s4), n4), c4, depth, s4, 3 + seed)
        down = self.conv(o4, self.group(c4), 3, s5), self.conv(n4, self.group(c4), 3, s5)
        o5 = self.block(self.concat(n5, *down), c5, depth, s5, 4 + seed)
        return o3, o4, o5

    def head(self, source: LinearForm, channels: int, pixels: int) -> None:
        """Two private chains of 3x3 convolutions, to boxes and to classes of fixed width."""
        for outputs in (64, 80):
            middle = self.conv(source, self.group(channels // 2), 3, pixels)
            last = self.conv(middle, self.group(channels // 2), 3, pixels)
            self.conv(last, LinearForm((), outputs), 1, pixels)


def synthetic_detector(
    seed: int,
    width: int = 64,
    depth: int = 3,
    states: int = 9,
    fraction: float | None = 0.5,
    limits: int = 1,
    neck: str = "path",
) -> Problem:
    """Five stages, a neck ("path" or "giraffe"), three heads.

    The first ``limits`` costs are limited, ``fraction`` of the way from the least to the greatest.
    """
    net = SyntheticDetector(seed, states)
    features = net.conv(LinearForm((), 3), net.group(width // 2), 3, 320 * 320)
    levels = []
    for stage in range(4):
        channels, pixels = min(width << stage, 8 * width), (160 >> stage) ** 2
        features = net.conv(features, net.group(channels), 3, pixels)
        features = net.block(features, channels, depth * (2 if stage in (1, 2) else 1), pixels, stage + seed)
        levels.append((features, channels, pixels))
    pyramid = (net.giraffe_neck if neck == "giraffe" else net.path_neck)(levels[1:], depth, seed)
    for source, (_, channels, pixels) in zip(pyramid, levels[1:], strict=True):
        net.head(source, channels, pixels)
    variables, factors = tuple(net.variables), tuple(net.factors)
    free = Problem(variables, factors, {})
    least, most = (free.measure([variable.states[end] for variable in variables])[1] for end in (0, -1))
    names = COSTS[:limits] if fraction is not None else ()
    return Problem(
        variables, factors, {name: (0, int(least[name] + (most[name] - least[name]) * fraction)) for name in names}
    )
