"""What every test may ask for: where the repository is, the measurements beside it, and a quiet Hypothesis."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Test processes side by side share the cores. Left to themselves torch and numpy take all of them in each, and wait for
# one another. Read when they are imported, which no test has done yet.
TOGETHER = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if TOGETHER > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // TOGETHER)))

# No deadline: two cores shared with other work make timings meaningless. Derandomised: the same examples
# on every machine, so that a red test is red for everybody.
settings.register_profile("nas", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nas")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir(repo_root: Path) -> Path:
    """``shared/`` beside the repository: measurements too large to ship. Skips where it is absent."""
    folder = repo_root.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder shared/ beside the repository: its measurements do not ship with the code")
    return folder
