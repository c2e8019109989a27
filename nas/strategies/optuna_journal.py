"""Optuna as an optional package, and its studies in a journal file that optuna-dashboard can open."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import BadInput

if TYPE_CHECKING:
    import optuna

JOURNAL = "optuna.log"
"""Name of the journal in a search's folder."""

LOCK_SECONDS = 5
"""Age at which a lock that a killed process left behind is broken; a write holds it for milliseconds."""


def load_optuna() -> Any:
    """Import Optuna, with its logging set to warnings."""
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


@contextmanager
def without_notices() -> Iterator[None]:
    """Suppress Optuna's warnings that a feature is experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def open_study(
    folder: Path,
    name: str,
    directions: list[str],
    metrics: list[str],
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """The study in ``folder``'s journal, created where there is none; optuna-dashboard opens the same file."""
    library = load_optuna()
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = folder / JOURNAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cut_torn_line(path)
        lock = JournalFileOpenLock(str(path), grace_period=LOCK_SECONDS)
        storage = library.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
        study: optuna.Study = library.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True, pruner=pruner
        )
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"cannot keep Optuna's journal at {str(path)!r}: {error}; choose another folder, or move the file away"
        ) from error
    with without_notices():
        if study.metric_names != metrics:
            study.set_metric_names(metrics)
    return study


def cut_torn_line(path: Path) -> int:
    """Cut an unfinished last line, which a kill during a write leaves behind; returns the number of bytes cut."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        file.truncate(whole)
    return len(data) - whole
