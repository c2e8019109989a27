"""Jobs as Ray tasks with declared CPUs and GPUs, on a Ray of our own or on a cluster that runs already.

Ray does a task again when its worker or node dies, up to ``RETRIES`` times; what cannot be done at all comes back as a
failure with its reason. A Ray of our own listens on the loopback device alone and asks for a token, has no
dashboard, keeps its logs in a temporary folder that goes when it goes, and dies with the driver.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Hashable
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, missing_package
from workbench.workers.base import JobResult, Workers, environment_versions, run_job

RETRIES = 4
"""Times that a task is begun anew after its worker, its node or the node's memory gave way."""

STORE_BYTES = 100_000_000
"""Object store of a local Ray: arguments and results of jobs are small, and few are in flight."""

KNOCK_S = 10
"""Seconds that a cluster's head has to accept a connection."""

NODES_S = 60
"""Seconds that a cluster has to show a node with CPUs."""

FOLDER = "nas-ray-"
"""Temporary folders of local Rays; the process id follows."""

JOINED = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0", "RAY_task_oom_retries": str(RETRIES)}
"""Environment of every driver: no statistics sent, plain words, and an end to jobs that need more memory than there is (Ray's default is to try for ever)."""

LOCAL = {**JOINED, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
"""Of a local Ray: the loopback device alone (Ray's switch for it is named after the systems where it is the default), and no stranger without
the token."""

_token = ""
"""What the parts of a local Ray show one another; ray reads it once, when it is imported."""


class RayWorkers(Workers):
    """``count`` tasks at once, of ``cpus`` and ``gpus`` each. Without an ``address``, a local Ray that has as many is started."""

    def __init__(self, count: int, address: str | None = None, cpus: int = 1, gpus: float = 0.0) -> None:
        self.count = count
        self._folder: Path | None = None
        self._keys: dict[Any, Hashable] = {}
        self._telling = ExitStack()
        self._before = {name: os.environ.get(name) for name in (*LOCAL, "RAY_AUTH_TOKEN")}
        if address is None:
            if not _token and "ray" in sys.modules:
                raise BadInput("a local Ray cannot be started: this program imported ray before, and ray reads the token of a local Ray when it is imported; open the workers first, or join a cluster by its address")
            os.environ.update(LOCAL, RAY_AUTH_TOKEN=_own_token())
        else:
            os.environ.update(JOINED)
        try:
            import ray
        except ModuleNotFoundError as error:
            self._environment_back()
            raise missing_package("work in several processes", error.name, "ray") from error
        self._ray = ray
        # Ray's words about workers that died come from a thread of its own, and go to stdout, where results belong.
        self._telling.enter_context(redirect_stdout(sys.stderr))
        try:
            self._open(count * cpus, math.ceil(count * gpus), address)
            self._check_nodes(cpus, gpus)
        except BaseException:
            self.close()
            raise
        self._task = ray.remote(run_job).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)
        self._versions = environment_versions()

    def _open(self, cpus: int, gpus: int, address: str | None) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        try:
            if address is not None:
                _knock(address)
                self._ray.init(address=address, namespace="nas", **quiet)
                return
            _sweep()
            self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=_short_folder()))
            self._ray.init(
                address="local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False, object_store_memory=STORE_BYTES,
                _temp_dir=str(self._folder), _node_ip_address="127.0.0.1", **quiet,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            if address is None:
                raise BadInput(f"a local Ray cannot be started ({reason}): work in one process, without --workers or --jobs, or join a cluster with --address") from error
            raise BadInput(f"no Ray cluster answers at {address!r} ({reason}): start one (`ray start --head`), or leave out --address") from error

    def _check_nodes(self, cpus: int, gpus: float) -> None:
        """A task that no node has room for would wait for ever; nodes of a cluster may still be on their way."""
        deadline = time.monotonic() + NODES_S
        while not any(node["Resources"].get("CPU", 0.0) >= cpus and node["Resources"].get("GPU", 0.0) >= gpus for node in self._ray.nodes() if node["Alive"]):
            if time.monotonic() > deadline:
                raise BadInput(f"no node of the cluster has {cpus} CPU and {gpus:g} GPU for a job: start workers with `ray start --address HOST:PORT`")
            time.sleep(1.0)

    @property
    def in_flight(self) -> int:
        return len(self._keys)

    def share(self, thing: Any) -> Any:
        return self._ray.put(thing)

    def start(self, key: Hashable, function: Callable[..., Any], *arguments: Any) -> None:
        self._keys[self._task.remote(self._versions, function, *arguments)] = key

    def wait(self) -> JobResult:
        (ready,), _ = self._ray.wait(list(self._keys), num_returns=1)
        key = self._keys.pop(ready)
        errors = self._ray.exceptions
        try:
            return JobResult(key, self._ray.get(ready))
        except errors.RayTaskError as error:
            if isinstance(error.cause, BadInput):
                raise BadInput(str(error.cause)) from error
            raise
        except (errors.RayError, errors.RaySystemError) as error:
            return JobResult(key, failure=f"{type(error).__name__}, begun {RETRIES + 1} times: {' '.join(str(error).split())[:300]}")

    def close(self) -> None:
        self._keys.clear()
        try:
            self._ray.shutdown()
        finally:
            self._telling.close()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None
            self._environment_back()

    def _environment_back(self) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _knock(address: str) -> None:
    """Ray itself tries an address for two minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def _own_token() -> str:
    """One token a process: Ray reads it once."""
    global _token
    _token = _token or secrets.token_hex(32)
    return _token


def _short_folder() -> str:
    """Where Ray may put its sockets, whose paths must stay below 108 characters."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 24 else "/tmp"


def _sweep() -> None:
    """Remove the folders of local Rays whose driver was killed."""
    for folder in Path(_short_folder()).glob(f"{FOLDER}*-*"):
        pid = folder.name.removeprefix(FOLDER).partition("-")[0]
        if pid.isdecimal() and folder.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
