"""Every shipped latency profile: the command that made it, and its errors as a table.

python benchmarks/latency_fit.py            # the table, from the profiles as they ship
python benchmarks/latency_fit.py --fit      # first make them again (needs ../shared; minutes)
python benchmarks/latency_fit.py --fit t4   # only these
python benchmarks/latency_fit.py --beyond   # fits to part of YOLOBench, judged beyond what they saw
"""

from __future__ import annotations

import argparse
import sys

from nas.devices.profile import SHIPPED as PROFILES
from nas.devices.profile import DeviceProfile, load_device

OUT = PROFILES
YOLOBENCH = "../shared/yolobench"
SHIPPED: dict[str, list[str]] = {
    "t4": [
        "../shared/t4",
        "--column",
        "t4_trt_fp16_ms",
        "--kind",
        "gpu",
        "--activations",
        "fused",
        "--hardware",
        "NVIDIA T4",
        "--runtime",
        "TensorRT 10",
        "--precision",
        "FP16",
    ],
    "a40": [
        YOLOBENCH,
        "--column",
        "nvidia_a40_gpu_tensorrt_ms",
        "--kind",
        "gpu",
        "--activations",
        "fused",
        "--hardware",
        "NVIDIA A40",
        "--runtime",
        "TensorRT",
        "--precision",
        "FP32",
    ],
    "v100": [
        "../shared/v100/conv_fp16.csv.gz",
        "--kind",
        "gpu",
        "--activations",
        "fused",
        "--hardware",
        "NVIDIA V100",
        "--runtime",
        "TensorRT",
        "--precision",
        "FP16",
    ],
    "jetson-nano": [
        YOLOBENCH,
        "--column",
        "jetson_nano_gpu_ort_fp32_ms",
        "--kind",
        "gpu",
        "--activations",
        "separate",
        "--hardware",
        "NVIDIA Jetson Nano, GPU",
        "--runtime",
        "ONNX Runtime",
        "--precision",
        "FP32",
    ],
    "intel-i7-10875h": [
        YOLOBENCH,
        "--column",
        "intel_i7_10875h_cpu_openvino_fp32_ms",
        "--kind",
        "cpu",
        "--activations",
        "fused",
        "--hardware",
        "Intel Core i7-10875H",
        "--runtime",
        "OpenVINO",
        "--precision",
        "FP32",
    ],
    "raspberry-pi-4-tflite": [
        YOLOBENCH,
        "--column",
        "raspberrypi4_cpu_tflite_fp32_ms",
        "--kind",
        "cpu",
        "--activations",
        "separate",
        "--hardware",
        "Raspberry Pi 4 Model B, CPU",
        "--runtime",
        "TensorFlow Lite",
        "--precision",
        "FP32",
    ],
    "raspberry-pi-4-tflite-int8": [
        YOLOBENCH,
        "--column",
        "raspberrypi4_cpu_tflite_int8_ms",
        "--kind",
        "cpu",
        "--activations",
        "separate",
        "--hardware",
        "Raspberry Pi 4 Model B, CPU",
        "--runtime",
        "TensorFlow Lite",
        "--precision",
        "INT8",
    ],
    "raspberry-pi-4": [
        YOLOBENCH,
        "--column",
        "raspberrypi4_cpu_ort_fp32_ms",
        "--kind",
        "cpu",
        "--activations",
        "separate",
        "--hardware",
        "Raspberry Pi 4 Model B, CPU",
        "--runtime",
        "ONNX Runtime",
        "--precision",
        "FP32",
    ],
    "raspberry-pi-5": [
        YOLOBENCH,
        "--column",
        "raspberrypi5_cpu_ort_fp32_ms",
        "--kind",
        "cpu",
        "--activations",
        "separate",
        "--hardware",
        "Raspberry Pi 5 Model B, CPU",
        "--runtime",
        "ONNX Runtime",
        "--precision",
        "FP32",
    ],
    "khadas-vim3-npu": [
        YOLOBENCH,
        "--column",
        "khadas_vim3_npu_int16_ms",
        "--kind",
        "npu",
        "--activations",
        "separate",
        "--hardware",
        "Khadas VIM3, NPU",
        "--precision",
        "INT16",
    ],
    "orange-pi-5-npu": [
        YOLOBENCH,
        "--column",
        "orangepi5_npu_fp16_ms",
        "--kind",
        "npu",
        "--activations",
        "separate",
        "--hardware",
        "Orange Pi 5, NPU",
        "--precision",
        "FP16",
    ],
}
"""Arguments of ``nas devices fit`` that made each profile, but for ``--out``."""


def main() -> int:
    """Make the profiles if asked, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", nargs="*", metavar="DEVICE", help="make these profiles again (none named: all)")
    parser.add_argument("--beyond", action="store_true", help="judge fits beyond the sizes they saw; writes nothing")
    args = parser.parse_args()
    if args.beyond:
        beyond()
        return 0
    if args.fit is not None:
        from nas.cli import main as nas

        for name in args.fit or SHIPPED:
            code = nas(["devices", "fit", SHIPPED[name][0], "--out", f"{OUT}/{name}.yaml", *SHIPPED[name][1:]])
            if code:
                return code
    print(
        "| profile | points | left-out MAPE % | Kendall tau | fitted MAPE % | line through FLOPs: MAPE % | tau | by "
        "family: MAPE (mean error) % |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in SHIPPED:
        print(row(load_device(name)))
    return 0


def row(profile: DeviceProfile) -> str:
    """One line of the table."""
    error = profile.error
    signed = error["mean_percent_by_family"]
    families = ", ".join(
        f"{name} {value:.1f} ({signed[name]:+.1f})" for name, value in error["mape_percent_by_family"].items()
    )
    cells = [
        profile.name,
        f"{profile.points:,}",
        f"**{error['mape_percent']:.1f}**",
        f"**{error['kendall_tau']:.3f}**",
        f"{error['fitted_mape_percent']:.1f}",
    ]
    rival = (
        [f"{error['flops_line_mape_percent']:.1f}", f"{error['flops_line_kendall_tau']:.3f}"]
        if "flops_line_mape_percent" in error
        else ["", ""]
    )
    return "| " + " | ".join([*cells, *rival, families]) + " |"


def beyond() -> None:
    """Fit to small images, to large images and to small networks; judge on the rest. Not used to choose anything."""
    import numpy as np

    from nas.devices.fit import Setting, fit_model, networks_problem
    from nas.devices.measurements import read_measured
    from nas.kendall import kendall

    print("| profile | images above 320 px: MAPE %, tau | images below 256 px | the larger third of the networks |")
    print("|---|---|---|---|")
    for name, words in SHIPPED.items():
        if words[0] != YOLOBENCH:
            continue
        option = dict(zip(words[1::2], words[2::2], strict=True))
        _, points = read_measured(words[0], option["--column"])
        problem = networks_problem(points)
        px = np.array([point.input_px for point in points])
        size = problem.total(problem.rows.macs) / px.astype(float) ** 2
        cells = []
        for judged in (px > 320, px < 256, size > np.quantile(size, 2 / 3)):
            found = fit_model(
                problem.part(~judged), Setting(option["--kind"], option["--precision"], option["--activations"])
            )
            rest = problem.part(judged)
            forecast = rest.predict(*found)
            cells.append(f"{100 * np.abs(forecast / rest.ms - 1).mean():.1f}, {kendall(forecast, rest.ms):.3f}")
        print("| " + " | ".join([name, *cells]) + " |")


if __name__ == "__main__":
    sys.exit(main())
