"""Every shipped latency profile: the command that made it, and its errors as a table.

    python benchmarks/latency_fit.py            # the table, from the profiles as they ship
    python benchmarks/latency_fit.py --fit      # first make them again (needs ../shared; minutes)
    python benchmarks/latency_fit.py --fit t4   # only these
    python benchmarks/latency_fit.py --coverage # share of left-out families inside their 90 % intervals (minutes)
    python benchmarks/latency_fit.py --beyond   # fits to part of YOLOBench, evaluated beyond their range
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import latency_sources

from nas.devices.fit import DataSheet, Setting, Start
from nas.devices.fitting.fit_profile import ProfileDescription, fit_points, fit_profile
from nas.devices.interval import interval_ms
from nas.devices.measured.networks import MeasuredNetwork
from nas.devices.profile import SHIPPED, DeviceProfile, load_device
from workbench.files import write_atomic

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
    "khadas-vim3-npu": Measured(
        YOLOBENCH, "khadas_vim3_npu_int16_ms", "npu", "separate", "Khadas VIM3, NPU", "", "INT16",
    ),
    "orange-pi-5-npu": Measured(
        YOLOBENCH, "orangepi5_npu_fp16_ms", "npu", "separate", "Orange Pi 5, NPU", "", "FP16",
    ),
}  # fmt: skip
"""The fit of each shipped profile to one table."""
ONE_KERNEL = {"elementwise_share": Start(0.4, 1.0)}
"""TensorRT joins elementwise ops that follow one another."""


@dataclass(frozen=True)
class Published:
    """Points of several publishers, and what is known of the device before the fit."""

    points: Callable[[], list[MeasuredNetwork]]
    protocol: str
    """The source whose times the profile predicts."""
    description: ProfileDescription
    setting: Setting

    def fit(self, name: str) -> DeviceProfile:
        """The profile, with errors of families left out."""
        description = replace(self.description, name=name, command=f"python benchmarks/latency_fit.py --fit {name}")
        points = self.points()
        several = len({point.source for point in points}) > 1
        text = "published figures of " + ("several sources, each with its own level" if several else self.protocol)
        return fit_points(text, points, description, self.setting, self.protocol)[0]


SOURCED = {
    "t4": Published(
        latency_sources.t4_points, "ultralytics", ProfileDescription("", "NVIDIA T4", "TensorRT 10", "FP16"),
        # The data sheet: 320e9 byte/s, 65 TFLOP/s. Tensor cores work on tiles of 64 channels and pay for whole ones.
        Setting("gpu", "FP16", "separate",
                known=DataSheet(320.0, 65.0).starts() | ONE_KERNEL | {"padded_channels": Start(0.7, 1.0, "share")}),
    ),
    "jetson-orin": Published(
        latency_sources.orin_points, latency_sources.ALONE,
        ProfileDescription("", "NVIDIA Jetson Orin, 8 GB, GPU", "TensorRT", "FP16"),
        Setting("gpu", "FP16", "fused", known=ONE_KERNEL),
    ),
    "raspberry-pi-5": Published(
        latency_sources.pi5_points, latency_sources.ALONE,
        ProfileDescription("", "Raspberry Pi 5 Model B, CPU", "ONNX Runtime", "FP32"),
        Setting("cpu", "FP32", "separate"),
    ),
    "raspberry-pi-5-ncnn": Published(
        latency_sources.ncnn_points, latency_sources.ALONE,
        ProfileDescription("", "Raspberry Pi 5 Model B, CPU", "NCNN", "FP32"), Setting("cpu", "FP32", "separate"),
    ),
    "hailo-8": Published(
        latency_sources.hailo_points, "hailo-ai",
        ProfileDescription("", "Hailo-8: throughput, 1000 / FPS at batch 8", "HailoRT", "INT8", batch=8),
        Setting("npu", "INT8", "fused"),
    ),
    **{
        f"{chip.lower()}-npu": Published(
            partial(latency_sources.rockchip_points, chip), "airockchip",
            ProfileDescription("", f"Rockchip {chip}, NPU, one core", "RKNN", "INT8"),
            Setting("npu", "INT8", "separate"),
        ) for chip in ("RK3588", "RK3576", "RK3562")
    },
}  # fmt: skip
"""The fit of each shipped profile to several sources (those of NPUs have one)."""


def main() -> int:
    """Make the profiles if asked, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", nargs="*", metavar="DEVICE", help="make these profiles again (none named: all)")
    parser.add_argument("--beyond", action="store_true", help="evaluate fits beyond their sizes; writes nothing")
    parser.add_argument("--coverage", action="store_true", help="coverage of the 90 %% intervals; writes nothing")
    args = parser.parse_args()
    if args.coverage:
        coverage()
        return 0
    if args.beyond:
        beyond()
        return 0
    if args.fit is not None:
        from nas.cli import main as nas

        for name in args.fit or [*SOURCED, *FITS]:
            if name in SOURCED:
                write_atomic(SHIPPED / f"{name}.yaml", SOURCED[name].fit(name).to_yaml())
                continue
            code = nas(["devices", "fit", *FITS[name].arguments(), "--out", str(SHIPPED / f"{name}.yaml")])
            if code:
                return code
    print(
        "| profile | points | sources | left-out MAPE % | Kendall tau | fitted MAPE % | line through FLOPs: MAPE % "
        "| tau | by family: MAPE (mean error) % |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in [*SOURCED, *FITS]:
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
        str(max(1, len(profile.sources))),
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


def coverage() -> None:
    """Measured times of left-out families inside the interval that the other families' errors give."""
    print("| profile | families | inside 90 % intervals, % | half width, % |")
    print("|---|---|---|---|")
    for name in [*SOURCED, *FITS]:
        profile = load_device(name)
        error = profile.error
        if name in FITS and FITS[name].data == YOLOBENCH:
            fit = FITS[name]
            description = ProfileDescription(name, precision=fit.precision)
            again, _ = fit_profile(fit.data, description, fit.column, kind=fit.kind, activations=fit.activations)
            error = again.error
        interval = interval_ms(profile, 1.0)
        half = "" if interval is None else f"{100 * (interval.high_ms - 1):.0f}"
        inside = error.get("interval_coverage_percent", "")
        print(f"| {name} | {len(error['mape_percent_by_family'])} | {inside} | {half} |", flush=True)


def beyond() -> None:
    """Fit to small images, to large images and to small networks; evaluate on the rest. Not used to choose anything."""
    import numpy as np

    from nas.devices.fit import Setting, fit_model, networks_problem
    from nas.devices.measured.networks import read_measured
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
