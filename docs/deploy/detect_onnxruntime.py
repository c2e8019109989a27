"""Objects in pictures with an ONNX file: python detect_onnxruntime.py best.onnx PICTURE ..."""

import sys

import onnxruntime
from boxes import show

path = sys.argv[1]
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]

show(path, lambda image: dict(zip(names, session.run(names, {"image": image}), strict=True)))
