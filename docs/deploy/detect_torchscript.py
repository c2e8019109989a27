"""Objects in pictures with a TorchScript file: python detect_torchscript.py best.torchscript PICTURE ..."""

import sys

import torch
from boxes import read_contract, show

path = sys.argv[1]
network = torch.jit.load(path)
names = list(read_contract(path)["outputs"])


def run(image):
    with torch.no_grad():
        outputs = network(torch.from_numpy(image))
    return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}


show(path, run)
