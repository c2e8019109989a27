"""Objects in pictures with an OpenVINO file: python detect_openvino.py best.xml PICTURE ..."""

import sys

import openvino
from boxes import show

path = sys.argv[1]
network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(image):
    outputs = network(image)
    return {port.get_any_name(): outputs[port] for port in network.outputs}


show(path, run)
