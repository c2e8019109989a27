"""Every shipped latency profile: the command that made it, and its errors as a table.

    python benchmarks/latency_fit.py            # the table, from the profiles as they ship
    python benchmarks/latency_fit.py --fit      # first make them again (needs ../shared; minutes)
    python benchmarks/latency_fit.py --fit t4   # only these
    python benchmarks/latency_fit.py --beyond   # fits to part of YOLOBench, evaluated beyond their range
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from nas.devices.profile import SHIPPED, DeviceProfile, load_device

YOLOBENCH = "../shared/yolobench"
@dataclass(frozen=True)
class Measured:
    """Measurements from which ``nas devices fit`` makes a profile, and its options."""

    data: str
    column: str
    """Empty for files with a single column of latencies."""
    kind: str
    activations: str
    hardware: str
    runtime: str
    """Empty where it is not known."""
    precision: str

    def arguments(self) -> list[str]:
        """Arguments of ``nas devices fit`` without ``--out``."""
        options = {
            "--column": self.column, "--kind": self.kind, "--activations": self.activations,
            "--hardware": self.hardware, "--runtime": self.runtime, "--precision": self.precision,
        }  # fmt: skip
        return [self.data, *(word for option, value in options.items() if value for word in (option, value))]


FITS = {
    "t4": Measured(
        "../shared/t4", "t4_trt_fp16_ms", "gpu", "fused", "NVIDIA T4", "TensorRT 10", "FP16",
    ),
    "a40": Measured(
        YOLOBENCH, "nvidia_a40_gpu_tensorrt_ms", "gpu", "fused", "NVIDIA A40", "TensorRT", "FP32",
    ),
    "v100": Measured(
        "../shared/v100/conv_fp16.csv.gz", "", "gpu", "fused", "NVIDIA V100", "TensorRT", "FP16",
    ),
    "jetson-nano": Measured(
        YOLOBENCH, "jetson_nano_gpu_ort_fp32_ms", "gpu", "separate", "NVIDIA Jetson Nano, GPU", "ONNX Runtime", "FP32",
    ),
    "intel-i7-10875h": Measured(
        YOLOBENCH, "intel_i7_10875h_cpu_openvino_fp32_ms", "cpu", "fused", "Intel Core i7-10875H", "OpenVINO", "FP32",
    ),
    "raspberry-pi-4-tflite": Measured(
        YOLOBENCH, "raspberrypi4_cpu_tflite_fp32_ms", "cpu", "separate", "Raspberry Pi 4 Model B, CPU",
        "TensorFlow Lite", "FP32",
    ),
    "raspberry-pi-4-tflite-int8": Measured(
        YOLOBENCH, "raspberrypi4_cpu_tflite_int8_ms", "cpu", "separate", "Raspberry Pi 4 Model B, CPU",
        "TensorFlow Lite", "INT8",
    ),
    "raspberry-pi-4": Measured(
        YOLOBENCH, "raspberrypi4_cpu_ort_fp32_ms", "cpu", "separate", "Raspberry Pi 4 Model B, CPU",
        "ONNX Runtime", "FP32",
    ),
    "raspberry-pi-5": Measured(
        YOLOBENCH, "raspberrypi5_cpu_ort_fp32_ms", "cpu", "separate", "Raspberry Pi 5 Model B, CPU",
        "ONNX Runtime", "FP32",
    ),
    "khadas-vim3-npu": Measured(
        YOLOBENCH, "khadas_vim3_npu_int16_ms", "npu", "separate", "Khadas VIM3, NPU", "", "INT16",
    ),
    "orange-pi-5-npu": Measured(
        YOLOBENCH, "orangepi5_npu_fp16_ms", "npu", "separate", "Orange Pi 5, NPU", "", "FP16",
    ),
}  # fmt: skip
"""The fit of each shipped profile."""


def main() -> int:
    """Make the profiles if asked, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", nargs="*", metavar="DEVICE", help="make these profiles again (none named: all)")
    parser.add_argument("--beyond", action="store_true", help="evaluate fits beyond their sizes; writes nothing")
    args = parser.parse_args()
    if args.beyond:
        beyond()
        return 0
    if args.fit is not None:
        from nas.cli import main as nas

        for name in args.fit or FITS:
            code = nas(["devices", "fit", *FITS[name].arguments(), "--out", str(SHIPPED / f"{name}.yaml")])
            if code:
                return code
    print(
        "| profile | points | left-out MAPE % | Kendall tau | fitted MAPE % | line through FLOPs: MAPE % | tau | by "
        "family: MAPE (mean error) % |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in FITS:
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
    """Fit to small images, to large images and to small networks; evaluate on the rest. Not used to choose anything."""
    import numpy as np

    from nas.devices.fit import Setting, fit_model, networks_problem
    from nas.devices.measurements import read_measured
    from nas.kendall import kendall

    print("| profile | images above 320 px: MAPE %, tau | images below 256 px | the larger third of the networks |")
    print("|---|---|---|---|")
    for name, fit in FITS.items():
        if fit.data != YOLOBENCH:
            continue
        _, points = read_measured(fit.data, fit.column)
        problem = networks_problem(points)
        px = np.array([point.input_px for point in points])
        size = problem.total(problem.rows.macs) / px.astype(float) ** 2
        cells = []
        for left_out in (px > 320, px < 256, size > np.quantile(size, 2 / 3)):
            model = fit_model(
                problem.part(~left_out), Setting(fit.kind, fit.precision, fit.activations)
            )
            rest = problem.part(left_out)
            predicted = rest.predict(*model)
            cells.append(f"{100 * np.abs(predicted / rest.ms - 1).mean():.1f}, {kendall(predicted, rest.ms):.3f}")
        print("| " + " | ".join([name, *cells]) + " |")


if __name__ == "__main__":
    sys.exit(main())
