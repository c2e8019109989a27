"""Does a second bench land in the first one's interval, and are other programs noticed? On this machine's clock.

Run ``python benchmarks/bench_repeats.py`` on an otherwise idle machine (half a minute, one core). It benches five small
networks twice and prints how many medians lie in the other bench's interval (8 of 10 are expected) and the median half
width of the intervals (below 0.15), and how much load of another program is seen. The last line says whether all of
these hold.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time

from nas.devices.network import Network
from nas.devices.noise import NoiseWatch
from nas.devices.session import choose_target, open_network
from nas.devices.timing import Plan, time_networks
from search_spaces.graph import Graph
from search_spaces.graph_builder import GraphBuilder

LEAST_INSIDE, MOST_HALF_WIDTH, LEAST_LOAD = 8, 0.15, 0.05


def chain(width: int, depth: int) -> Network:
    """``depth`` convolutions of ``width`` channels at 96 pixels."""
    builder = GraphBuilder(3)
    x = builder.conv(-1, width, 3, 2, act="silu")
    for _ in range(depth):
        x = builder.conv(x, width, 3, act="relu")
    graph = builder.finish([x])
    return Network.of_graph(Graph(graph.ops, graph.inputs, graph.outputs, f"chain-{width}-{depth}"), (96, 96))


def repeats(seconds: float) -> tuple[int, float]:
    """Medians of ten that lie in the other bench's interval, and the median half width of all intervals."""
    target = choose_target(threads=1)
    networks = [chain(*size) for size in ((16, 2), (24, 3), (32, 4), (48, 2), (64, 2))]
    plan = Plan(seconds=seconds)
    first, second = (time_networks([open_network(n, target) for n in networks], plan) for _ in range(2))
    inside, half_widths = 0, []
    for one, other in [*zip(first, second, strict=True), *zip(second, first, strict=True)]:
        low, high = one.interval_ms()
        inside += low <= other.p50_ms <= high
        half_widths.append(math.log(high / low) / 2)
    return inside, statistics.median(half_widths)


def load_of_another_program(seconds: float) -> float | None:
    """The share of the CPUs' time that a busy child process is seen to take; None if the system does not report it."""
    watch = NoiseWatch().start()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(seconds)
        other.kill()
    return watch.stop().others


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each network in each bench")
    args = parser.parse_args()
    inside, half_width = repeats(args.seconds)
    load = load_of_another_program(min(1.0, args.seconds))
    print(f"medians in the other bench's interval: {inside} of 10; median half width {half_width:.3f}")
    print(f"load of another program: {'not reported here' if load is None else f'{load:.2f} of the CPUs'}")
    passed = inside >= LEAST_INSIDE and half_width < MOST_HALF_WIDTH and (load is None or load > LEAST_LOAD)
    print("as expected" if passed else "NOT as expected: is the machine idle?")


if __name__ == "__main__":
    main()
