"""What every test may ask for: where the repository is, the measurements beside it, and a quiet Hypothesis."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
