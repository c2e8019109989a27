"""OptunaSearch: Optuna's own samplers (TPE and NSGA-II) as strategies, with a journal for optuna-dashboard.

**Parameters.** A trial has one parameter a gene that has a choice, and every trial lies in the space.
Kernels and depths are themselves: ``stage2.depth`` in 1..5. Widths are bound to their neighbours by the
space's rules, so they are *shares*: ``stage2.out_share`` in [0, 1) is the place among those widths that
may follow the width before and still lead to the end, ``stage2.btn_share`` the place among the inner
widths that go with the output (``Unfolding``). The values themselves are in the trial's user attribute
``genes``, beside every cost in its own unit.

**Budgets** are one constraint, ``over``: by how much the worst budget is missed, relative. ``tpe`` maximises
the score; ``nsga2`` maximises the score and minimises the primary cost. A candidate over budget whose
score was never computed is a pruned trial; one whose score failed is a failed trial: neither gets a number.

**Resuming.** Sampling runs in an in-memory study, and the sampler is seeded anew for every batch from
(seed, trials told), so what is asked depends on the told trials alone. Told trials are copied, finished,
to ``<folder>/optuna.log`` in one fsynced line each: a kill leaves no running trial behind, at most
a torn last line, which is cut off when the file is opened again. Trials in the file beyond the saved
state are not written twice: the same asks follow, and each is checked against what is there.

    optuna-dashboard runs/NAME/optuna.log
"""

from __future__ import annotations

import abc
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nas.searcher.evaluator import Evaluation
from nas.strategies.strategy import SHARED_OPTIONS, SamplingStrategy, Settings
from search_spaces.space import DEPTH, OUT, K, Space
from workbench.errors import BadInput, unknown_name

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "optuna.log"
"""Name of the journal in a search's folder."""

LOCK_SECONDS = 5
"""A lock that a killed process left behind is broken after so long; a write holds it for milliseconds."""

OPTIONS = (*SHARED_OPTIONS, "batch", "startup", "joint")
"""``batch``: trials an ask. Of tpe alone: ``startup``, random trials before the model; ``joint``, true for a
model of all genes together (Optuna's multivariate)."""


class Unfolding:
    """Rows from shares and values, gene by gene, so that every row lies in the space."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._outs = self._reachable()
        self.stem_outs = tuple(c for c in space.stem_outs if self._outs[0].get(c))
        if not self.stem_outs:
            raise BadInput(f"space {space.name!r} holds no architecture: its rules exclude every width; loosen them")

    def _reachable(self) -> list[dict[int, tuple[int, ...]]]:
        """For every stage and width before it: the widths that may follow and still reach the end."""
        space = self.space
        tables: list[dict[int, tuple[int, ...]]] = []
        later: dict[int, tuple[int, ...]] | None = None
        for i in reversed(range(len(space.stages))):
            before = space.stem_outs if i == 0 else space.stages[i - 1].outs
            fits = [o for o in space.stages[i].outs if space.btn_values(i, o) and (later is None or later.get(o))]
            later = {int(c): tuple(int(o) for o in fits if space.allows(i, np.int64(c), np.int64(o))) for c in before}
            tables.append(later)
        return tables[::-1]

    def distributions(self) -> dict[str, BaseDistribution]:
        """One Optuna distribution a parameter, in row order; genes without a choice have none."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        def listed(choices: tuple[int, ...]) -> BaseDistribution:
            steps = set(np.diff(choices).tolist())
            if len(steps) == 1:
                return IntDistribution(int(choices[0]), int(choices[-1]), step=int(steps.pop()))
            return CategoricalDistribution([int(c) for c in choices])

        found: dict[str, BaseDistribution] = {}
        if len(self.stem_outs) > 1:
            found["stem.out"] = listed(self.stem_outs)
        for i, stage in enumerate(self.space.stages):
            name = f"stage{i + 1}"
            if len({o for group in self._outs[i].values() for o in group}) > 1:
                found[f"{name}.out_share"] = FloatDistribution(0.0, 1.0)
            if any(len(self.space.btn_values(i, o)) > 1 for o in stage.outs):
                found[f"{name}.btn_share"] = FloatDistribution(0.0, 1.0)
            for gene, choices in (("k", stage.ks), ("depth", stage.depths)):
                if len(choices) > 1:
                    found[f"{name}.{gene}"] = listed(choices)
        return found

    def row(self, params: Mapping[str, Any]) -> np.ndarray:
        """Row of one trial's parameters, int64 ``[genes]``."""
        space = self.space
        row = np.zeros(space.genes, dtype=np.int64)
        row[0] = cin = int(params.get("stem.out", self.stem_outs[0]))
        for i, stage in enumerate(space.stages):
            name = f"stage{i + 1}"
            out = _at(self._outs[i][cin], params.get(f"{name}.out_share", 0.0))
            btn = _at(space.btn_values(i, out), params.get(f"{name}.btn_share", 0.0))
            row[space.column(i, OUT) : space.column(i, OUT) + 2] = out, btn
            row[space.column(i, K)] = params.get(f"{name}.k", stage.ks[0])
            row[space.column(i, DEPTH)] = params.get(f"{name}.depth", stage.depths[0])
            cin = out
        return row


class OptunaSearch(SamplingStrategy):
    """What both samplers share; see the module head. Options: ``OPTIONS``."""

    batch: ClassVar[int]
    """Trials an ask: what is asked together is not learned from in between."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        library = load_optuna()
        for key, value in settings.options.items():
            if key not in OPTIONS:
                raise unknown_name(f"option of {self.name}", key, OPTIONS)
            if key == "joint" and not isinstance(value, bool):
                raise BadInput(f"option joint={value!r} must be true or false")
            if key in ("batch", "startup") and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise BadInput(f"option {key}={value!r} must be a positive whole number")
        self.primary = settings.evaluator.primary
        self.unfolding = Unfolding(settings.space)
        self._distributions = self.unfolding.distributions()
        self._batch = int(settings.options.get("batch", self.batch))
        self._open: list[Trial] = []
        self._study: optuna.Study = library.create_study(directions=self._directions())
        self._file: optuna.Study | None = None
        self._written: dict[int, FrozenTrial] = {}
        if settings.options.get("folder") is not None:
            self._open_file(Path(settings.options["folder"]).expanduser().resolve())

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
            seed = np.random.SeedSequence([self.settings.seed, self._told]).generate_state(1)
            self._study.sampler = self._sampler(int(seed[0]))
            count = min(self._batch, self.settings.steps - self._told)
            with without_notices():
                self._open = [self._study.ask(self._distributions) for _ in range(count)]
        return np.stack([self.unfolding.row(trial.params) for trial in self._open])

    def tell(self, rows: np.ndarray, judged: Evaluation) -> None:
        """Finish the trials of the batch, and copy them to the journal."""
        from optuna.trial import TrialState

        if len(rows) != len(self._open):
            raise BadInput(
                f"{self.name} was told {len(rows)} rows but had asked for {len(self._open)}: "
                "tell each ask whole and once"
            )
        rulers = self.settings.evaluator.rulers
        costs = {name: np.asarray(value) * rulers.unit(name) for name, value in judged.costs.items()}
        for i, trial in enumerate(self._open):
            score, over = float(judged.score[i]), float(judged.over[i])
            trial.set_user_attr("candidate", self._told)
            trial.set_user_attr("genes", [int(v) for v in rows[i]])
            for name, value in costs.items():
                trial.set_user_attr(name, float(value[i]))
            trial.set_constraint("over", over)
            with without_notices():
                if not np.isnan(score):
                    told = self._study.tell(trial, self._values(score, float(costs[self.primary][i])))
                elif over > 0:
                    trial.set_user_attr("reason", "over budget: not scored")
                    told = self._study.tell(trial, state=TrialState.PRUNED)
                else:
                    trial.set_user_attr("reason", f"score {self.settings.evaluator.score_name} could not be computed")
                    told = self._study.tell(trial, state=TrialState.FAIL)
            self._write(told)
            self._told += 1
        self._open = []

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
        """Go on from ``state()``: the told trials are read back, whatever was under way is asked again."""
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
            # A resumed search starts from a new object; within a run only the index is ever asked for.
            self._written[index] = trial
        elif known.user_attrs.get("genes") != trial.user_attrs["genes"] or known.values != trial.values:
            raise BadInput(
                f"{JOURNAL} already holds trial {index} of another {self.name} search: "
                "choose another folder, or move the file away"
            )


class TpeSearch(OptunaSearch):
    """Tree-structured Parzen estimator, gene by gene unless ``joint``; one objective, the score."""

    name: ClassVar[str] = "tpe"
    batch: ClassVar[int] = 4

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        startup = int(self.settings.options.get("startup", max(4, min(50, self.settings.steps // 4))))
        sampler: optuna.samplers.BaseSampler = load_optuna().samplers.TPESampler(
            n_startup_trials=startup, multivariate=bool(self.settings.options.get("joint", False)), seed=seed
        )
        return sampler


class Nsga2Search(OptunaSearch):
    """NSGA-II; two objectives, score up and primary cost down."""

    name: ClassVar[str] = "nsga2"
    batch: ClassVar[int] = 32

    def _directions(self) -> list[str]:
        return ["maximize", "minimize"]

    def _metric_names(self) -> list[str]:
        return ["score", self.primary]

    def _values(self, score: float, cost: float) -> list[float]:
        return [score, cost]

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        # Few trials need generations more than they need a crowd; 2 is the least a cross-over takes.
        population = max(2, min(self.settings.population, self.settings.steps // 8))
        sampler: optuna.samplers.BaseSampler = _steady_nsga2()(population_size=population, seed=seed)
        return sampler


def open_study(folder: Path, name: str, directions: list[str], metrics: list[str], pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    """The study in ``folder``'s journal, made where there is none; optuna-dashboard opens the same file."""
    library = load_optuna()
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = folder / JOURNAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cut_torn_line(path)
        lock = JournalFileOpenLock(str(path), grace_period=LOCK_SECONDS)
        storage = library.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
        study: optuna.Study = library.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True, pruner=pruner)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"cannot keep Optuna's journal at {str(path)!r}: {error}; choose another folder, or move the file away"
        ) from error
    with without_notices():
        if study.metric_names != metrics:
            study.set_metric_names(metrics)
    return study


def cut_torn_line(path: Path) -> int:
    """Cut an unfinished last line, which a kill in the middle of a write leaves; returns the bytes cut."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        file.truncate(whole)
    return len(data) - whole


def _at(choices: tuple[int, ...], share: float) -> int:
    """The choice at a share of the way through: equal parts of [0, 1] for all."""
    return choices[min(int(share * len(choices)), len(choices) - 1)]


def load_optuna() -> Any:
    """Optuna, with its logging turned down to warnings."""
    try:
        import optuna
    except ImportError as error:
        raise BadInput(
            f"strategies tpe and nsga2, and nas tune, need Optuna ({error}): pip install 'optuna>=5'"
        ) from error
    if not hasattr(optuna.trial.Trial, "set_constraint"):
        raise BadInput(f"Optuna {optuna.__version__} is too old for constraints a trial: pip install 'optuna>=5'")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _steady_nsga2() -> Any:
    """NSGA-II that lists parents in trial order, so that a cached and a recomputed list draw the same children."""
    samplers = load_optuna().samplers

    class Steady(samplers.NSGAIISampler):  # type: ignore[name-defined]
        def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
            return sorted(super().get_parent_population(study, generation), key=lambda t: int(t.number))

    return Steady


@contextmanager
def without_notices() -> Iterator[None]:
    """Without Optuna's notices that a feature it offers is experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
