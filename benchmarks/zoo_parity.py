"""Every family against numbers measured on its official implementation: the largest gaps, training form and folded.

Run ``PYTHONPATH=. python benchmarks/zoo_parity.py`` with the folder shared/ beside the project. Weights follow from
the tensors' names and the image from the model's (see tests/zoo/families/parity.py), so there is no seed. The table
is that of docs/benchmarks/zoo-parity.md: largest |ours - official| over max(1, largest official value) of all
sampled numbers.
"""

from __future__ import annotations

import argparse

import torch

from tests.zoo.families import parity
from zoo.factory import build
from zoo.weights.official import load_official


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", nargs="+", metavar="NAME", help="only these (default: all)")
    args = parser.parse_args()
    print("| fixture | outputs compared | training form | folded |\n| --- | --- | --- | --- |")
    for path in parity.fixture_files():
        if args.fixtures and path.stem not in args.fixtures:
            continue
        fixture = parity.read_fixture(path)
        detector = build(fixture["model"]).eval()
        load_official(detector, parity.official_tensors(fixture))
        image = parity.image(fixture)
        with torch.no_grad():
            training = parity.gaps(fixture, detector.official_outputs(image))
            folded = parity.gaps(fixture, detector.fuse().official_outputs(image))
        print(f"| {path.stem} | {len(training)} | {max(training.values()):.1e} | {max(folded.values()):.1e} |")


if __name__ == "__main__":
    main()
