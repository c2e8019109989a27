"""OptunaSearch: Optuna's own samplers (TPE and NSGA-II) as strategies, with a journal for optuna-dashboard.

**Parameters**: see ``optuna_parameters``. The genes are in the trial's user attribute ``genes``, beside every cost in
its own unit.

**Budgets** are one constraint, ``over``: the relative excess over the worst budget. ``tpe`` maximizes the score;
``nsga2`` maximizes the score and minimizes the primary cost. A candidate over budget whose score was never computed is
a pruned trial; one whose score failed is a failed trial: neither gets a number.

**Resuming.** Sampling runs in an in-memory study, and the sampler is seeded anew for every batch from (seed, trials
told), so the asked rows depend on the told trials alone. Told trials are copied, finished, to ``<folder>/optuna.log``
in one fsynced line each: a kill leaves no running trial behind, at most a torn last line, which is cut off when the
file is opened again. Trials in the file beyond the saved state are not written twice: the same asks follow, and each is
compared with the file.

    optuna-dashboard runs/NAME/optuna.log
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation
from nas.strategies.options import SamplingOptions, StrategyOptions
from nas.strategies.optuna_journal import JOURNAL, load_optuna, open_study, without_notices
from nas.strategies.optuna_parameters import row_parameters
from nas.strategies.strategy import SamplingStrategy, StrategyContext
from workbench.errors import BadInput

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial


@dataclass(frozen=True)
class OptunaOptions(SamplingOptions):
    """Options of both samplers. ``batch``: trials an ask; nothing is learned within a batch."""

    batch: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 1:
            raise BadInput(f"option batch={self.batch} must be at least 1")


@dataclass(frozen=True)
class TpeOptions(OptunaOptions):
    """Options of ``tpe``.

    Args:
        startup: Random trials before the model; 0 means a quarter of the steps, from 4 to 50.
        joint: Model all genes together (Optuna's ``multivariate``).
    """

    startup: int = 0
    joint: bool = False


@dataclass(frozen=True)
class Nsga2Options(OptunaOptions):
    """Options of ``nsga2``."""

    batch: int = 32


class OptunaSearch(SamplingStrategy):
    """Base of both samplers; see the module docstring."""

    def __init__(self, context: StrategyContext, options: OptunaOptions) -> None:
        super().__init__(context, options)
        self.primary = context.evaluator.primary
        self.parameters = row_parameters(context.space)
        self._distributions = self.parameters.distributions()
        self._batch = options.batch
        self._open: list[Trial] = []
        self._study: optuna.Study = load_optuna().create_study(directions=self._directions())
        self._file: optuna.Study | None = None
        self._written: dict[int, FrozenTrial] = {}
        if context.folder is not None:
            self._open_file(context.folder.expanduser().resolve())

    def _directions(self) -> list[str]:
        return ["maximize"]

    def _metric_names(self) -> list[str]:
        return ["score"]

    def _values(self, score: float, cost: float) -> list[float]:
        """The objectives of one trial; ``cost`` is the primary one in its own unit."""
        return [score]

    @abc.abstractmethod
    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """A fresh sampler for one batch."""

    def ask(self) -> np.ndarray:
        """The sampler's next batch, int64 ``[N, genes]``; the same one again until it is told."""
        self._refuse_when_finished()
        if not self._open:
            seed = np.random.SeedSequence([self.context.seed, self._told]).generate_state(1)
            self._study.sampler = self._sampler(int(seed[0]))
            count = min(self._batch, self.steps - self._told)
            with without_notices():
                self._open = [self._study.ask(self._distributions) for _ in range(count)]
        return np.stack([self.parameters.row(trial.params) for trial in self._open])

    def tell(self, rows: np.ndarray, evaluation: Evaluation) -> None:
        """Finish the trials of the batch, and copy them to the journal."""
        if len(rows) != len(self._open):
            raise BadInput(
                f"{self.name} was told {len(rows)} rows but had asked for {len(self._open)}: "
                "tell each ask whole and once"
            )
        space_costs = self.context.evaluator.space_costs
        costs = {name: np.asarray(value) * space_costs.unit(name) for name, value in evaluation.costs.items()}
        for i, trial in enumerate(self._open):
            over = float(evaluation.over[i])
            trial.set_user_attr("candidate", self._told)
            trial.set_user_attr("genes", [int(v) for v in rows[i]])
            for name, value in costs.items():
                trial.set_user_attr(name, float(value[i]))
            trial.set_constraint("over", over)
            self._write(self._finish(trial, float(evaluation.score[i]), float(costs[self.primary][i]), over))
            self._told += 1
        self._open = []

    def _finish(self, trial: Trial, score: float, cost: float, over: float) -> FrozenTrial:
        """Tell the study one trial: complete with a score, else pruned (over budget) or failed."""
        from optuna.trial import TrialState

        with without_notices():
            if not np.isnan(score):
                return self._study.tell(trial, self._values(score, cost))
            if over > 0:
                trial.set_user_attr("reason", "over budget: not scored")
                return self._study.tell(trial, state=TrialState.PRUNED)
            trial.set_user_attr("reason", f"score {self.context.evaluator.score.name} could not be computed")
            return self._study.tell(trial, state=TrialState.FAIL)

    def state(self) -> dict[str, Any]:
        """How many trials were told; the trials themselves too when no folder keeps them."""
        state: dict[str, Any] = {"strategy": self.name, "told": self._told}
        if self._file is None:
            finished = [t for t in self._study.get_trials(deepcopy=False) if t.state.is_finished()]
            state["trials"] = [
                {
                    "state": t.state.name, "values": t.values, "params": dict(t.params),
                    "user_attrs": dict(t.user_attrs), "system_attrs": dict(t.system_attrs),
                }
                for t in finished
            ]  # fmt: skip
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from ``state()``: the told trials are read back, a batch in progress is asked again."""
        from optuna.trial import TrialState, create_trial

        self._check_owner(state)
        told = int(state["told"])
        if "trials" in state:
            trials = [
                create_trial(
                    state=TrialState[t["state"]], values=t["values"], params=t["params"],
                    distributions=self._distributions, user_attrs=t["user_attrs"], system_attrs=t["system_attrs"],
                )
                for t in state["trials"]
            ]  # fmt: skip
        else:
            if self._file is None:
                raise BadInput(f"{told} trials are in the search's {JOURNAL}: resume in the folder it was started in")
            missing = [i for i in range(told) if i not in self._written]
            if missing:
                raise BadInput(
                    f"{JOURNAL} lacks trial {missing[0]} of {told} told: "
                    "put the file back, or start the search again in a new folder"
                )
            trials = [self._written[i] for i in range(told)]
        self._study = load_optuna().create_study(directions=self._directions())
        self._study.add_trials(trials)
        self._told, self._open = told, []

    # The journal ----------------------------------------------------------------------------------

    def _open_file(self, folder: Path) -> None:
        self._file = open_study(folder, f"nas-{self.name}", self._directions(), self._metric_names())
        for trial in self._file.get_trials(deepcopy=False):
            if "candidate" in trial.user_attrs:
                self._written[int(trial.user_attrs["candidate"])] = trial

    def _write(self, trial: FrozenTrial) -> None:
        if self._file is None:
            return
        index = int(trial.user_attrs["candidate"])
        known = self._written.get(index)
        if known is None:
            self._file.add_trial(trial)
            # A resumed search reads the file again; within a run only the index matters.
            self._written[index] = trial
        elif known.user_attrs.get("genes") != trial.user_attrs["genes"] or known.values != trial.values:
            raise BadInput(
                f"{JOURNAL} already holds trial {index} of another {self.name} search: "
                "choose another folder, or move the file away"
            )


class TpeSearch(OptunaSearch):
    """Tree-structured Parzen estimator, gene by gene unless ``joint``; one objective, the score."""

    name: ClassVar[str] = "tpe"
    options_type: ClassVar[type[StrategyOptions]] = TpeOptions

    def __init__(self, context: StrategyContext, options: TpeOptions) -> None:
        super().__init__(context, options)
        self.options = options

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        startup = self.options.startup or max(4, min(50, self.steps // 4))
        sampler: optuna.samplers.BaseSampler = load_optuna().samplers.TPESampler(
            n_startup_trials=startup, multivariate=self.options.joint, seed=seed
        )
        return sampler


class Nsga2Search(OptunaSearch):
    """NSGA-II; two objectives, score up and primary cost down."""

    name: ClassVar[str] = "nsga2"
    options_type: ClassVar[type[StrategyOptions]] = Nsga2Options

    def __init__(self, context: StrategyContext, options: Nsga2Options) -> None:
        super().__init__(context, options)
        self.options = options

    def _directions(self) -> list[str]:
        return ["maximize", "minimize"]

    def _metric_names(self) -> list[str]:
        return ["score", self.primary]

    def _values(self, score: float, cost: float) -> list[float]:
        return [score, cost]

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        # Few trials need generations more than a large population; cross-over needs at least 2.
        population = max(2, min(self.options.population, self.steps // 8))
        sampler: optuna.samplers.BaseSampler = _steady_nsga2()(population_size=population, seed=seed)
        return sampler


def _steady_nsga2() -> Any:
    """NSGA-II that lists parents in trial order, so that a cached and a recomputed list give the same children."""
    samplers = load_optuna().samplers

    class Steady(samplers.NSGAIISampler):  # type: ignore[name-defined]
        def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
            return sorted(super().get_parent_population(study, generation), key=lambda t: int(t.number))

    return Steady
