"""Objects in pictures with an NCNN file: python detect_ncnn.py best.ncnn.param PICTURE ..."""

import sys
from pathlib import Path

import ncnn
import numpy as np
from boxes import read_contract, show

path = sys.argv[1]
network = ncnn.Net()
network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False  # FP32 on ARM too
if network.load_param(path) or network.load_model(str(Path(path).with_suffix(".bin"))):
    raise SystemExit(f"NCNN cannot read {path} with its .bin beside it")
names = list(read_contract(path)["outputs"])


def run(image):
    extractor = network.create_extractor()
    extractor.input("image", ncnn.Mat(image[0]).clone())
    return {name: np.array(extractor.extract(name)[1])[None] for name in names}


show(path, run)
