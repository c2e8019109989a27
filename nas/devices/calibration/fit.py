"""Fit a profile to the networks of a calibration and check it on the held-out ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.devices.calibration.journal import Journal
from nas.devices.calibration.networks import CalibrationNetwork, Design
from nas.devices.model import LatencyModel
from nas.devices.profile import DeviceProfile
from nas.devices.runtimes.runtime import Target
from nas.devices.session import runtime_text
from workbench.errors import BadInput

if TYPE_CHECKING:
    from nas.devices.measured.networks import MeasuredNetwork

MOST_NOISE_PERCENT = 15.0
"""Largest mean difference of two visits to the same network. Above it small networks, which fit between two
disturbances, look faster than large ones, which do not, and the fit would carry that into every prediction."""
RESUME = "the same command with more --minutes goes on from here"
ONE_THREAD = (
    ", or measure with --threads 1: on a virtual machine the communication between its CPUs changes while it runs, "
    "which one thread does not notice"
)


@dataclass(frozen=True, slots=True)
class HeldOutNetwork:
    """A network that was not fitted: measured and predicted, milliseconds."""

    name: str
    kind: str
    measured_ms: float
    predicted_ms: float

    @property
    def percent(self) -> float:
        """Error in percent of the measured time; positive = predicted too slow."""
        return 100 * (self.predicted_ms / self.measured_ms - 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "percent": self.percent}


@dataclass(frozen=True)
class CalibrationFit:
    """A fitted model and its errors: on the held-out networks, on the fitted ones, and the noise, in percent."""

    model: LatencyModel
    fixed_ms: float
    points: int
    held_out: tuple[HeldOutNetwork, ...]
    noise_percent: float
    fitted_mape_percent: float
    reference_ms: float
    """The reference network's time: the speed of the machine that the model describes."""

    def to_profile(self, target: Target, name: str, command: str) -> DeviceProfile:
        """The profile; its error is that on held-out networks, or the noise if that is larger."""
        return DeviceProfile(
            name=name,
            hardware=target.hardware(),
            runtime=runtime_text(target),
            precision=target.precision,
            batch=1,
            resolution_us=0.1,
            model=self.model,
            fixed_ms=self.fixed_ms,
            points=self.points,
            error=self._error(),
            command=command,
            reference_ms=round(self.reference_ms, 6),
            fitted_on=(
                f"{self.points} designed chains and random detectors measured on this machine; errors on "
                f"{len(self.held_out)} networks not fitted"
            ),
        )

    def _error(self) -> dict[str, Any]:
        from nas.kendall import kendall

        mape = statistics.fmean(abs(n.percent) for n in self.held_out)
        tau = kendall([n.predicted_ms for n in self.held_out], [n.measured_ms for n in self.held_out])
        kinds = dict.fromkeys(n.kind for n in self.held_out)
        by_kind = {k: statistics.fmean(abs(n.percent) for n in self.held_out if n.kind == k) for k in kinds}
        error: dict[str, Any] = {"mape_percent": round(max(mape, self.noise_percent), 3)}
        if math.isfinite(tau):
            error["kendall_tau"] = round(tau, 4)
        return error | {
            "judged_mape_percent": round(mape, 3),
            "noise_percent": round(self.noise_percent, 3),
            "fitted_mape_percent": round(self.fitted_mape_percent, 3),
            "mape_percent_by_family": {kind: round(percent, 3) for kind, percent in by_kind.items()},
            "percent_by_network": {n.name: round(n.percent, 3) for n in self.held_out},
        }


def fit_calibration(
    networks: Sequence[CalibrationNetwork], journal: Journal, target: Target, design: Design, minutes: float
) -> CalibrationFit:
    """Fit the measured networks; ``BadInput`` if they are too few or too noisy."""
    from nas.devices.fit import Setting, fit_model, networks_problem

    times = journal.times_ms()
    fitted = [n for n in networks if not n.held_out and n.name in times]
    held_out = [n for n in networks if n.held_out and n.name in times]
    if len(fitted) < design.min_fitted or len(held_out) < design.min_held_out:
        raise BadInput(
            f"{minutes:g} minutes were enough for {len(fitted)} networks to fit and {len(held_out)} to check with, at "
            f"least {design.min_fitted} and {design.min_held_out} are needed: {RESUME}"
        )
    noise = _checked_noise(journal, target, minutes)
    problem = networks_problem([_measured(network, times[network.name]) for network in fitted])
    model, fixed_ms = fit_model(problem, Setting("cpu" if target.device == "cpu" else "gpu", target.precision))
    unseen = networks_problem([_measured(network, times[network.name]) for network in held_out])
    checked = tuple(
        HeldOutNetwork(network.name, network.kind, times[network.name], float(ms))
        for network, ms in zip(held_out, unseen.predict(model, fixed_ms), strict=True)
    )
    fitted_mape = statistics.fmean(abs(100 * (problem.predict(model, fixed_ms) / problem.ms - 1)))
    return CalibrationFit(model, fixed_ms, len(fitted), checked, noise, fitted_mape, journal.reference_ms)


def _checked_noise(journal: Journal, target: Target, minutes: float) -> float:
    """The noise in percent; measurements of a machine that is too noisy are deleted."""
    noise = journal.noise_percent()
    if not math.isfinite(noise):
        raise BadInput(f"{minutes:g} minutes were not enough to measure anything twice: {RESUME}")
    if noise > MOST_NOISE_PERCENT:
        journal.path.unlink()
        raise BadInput(
            f"this machine is too noisy to calibrate: the same network differs from itself by {noise:.0f} % on "
            f"average, at most {MOST_NOISE_PERCENT:g} % is allowed; end other programs and begin again"
            + (ONE_THREAD if target.threads > 1 else "")
        )
    return noise


def _measured(network: CalibrationNetwork, ms: float) -> MeasuredNetwork:
    from nas.devices.measured.networks import MeasuredNetwork
    from nas.devices.measured.op_table import costed

    made = network.make()
    table = costed(made.graph.table(made.table_px))
    return MeasuredNetwork(network.name, network.kind, made.size[0], ms, made.graph, table)
