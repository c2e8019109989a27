"""Objects in pictures with a LiteRT file: python detect_litert.py best.tflite PICTURE ..."""

import sys

from ai_edge_litert.interpreter import Interpreter
from boxes import read_contract, show

path = sys.argv[1]
network = Interpreter(path)
network.allocate_tensors()
names = list(read_contract(path)["outputs"])
found = sorted(network.get_output_details(), key=lambda output: output["name"])  # output_0, output_1


def run(image):
    network.set_tensor(network.get_input_details()[0]["index"], image)
    network.invoke()
    return {name: network.get_tensor(output["index"]) for name, output in zip(names, found, strict=True)}


show(path, run)
