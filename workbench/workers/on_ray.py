"""Jobs as Ray tasks with declared CPUs and GPUs, on a local Ray or a running cluster.

Ray retries a task when its worker or node dies, up to ``RETRIES`` times; a task that fails every time is returned as a
failure with its reason. A local Ray listens on the loopback device alone, requires a token, has no dashboard, logs to a
temporary folder that is removed on close, and ends with the driver.
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
"""Retries of a task after its worker or node died or ran out of memory."""

STORE_BYTES = 100_000_000
"""Object store of a local Ray. Arguments and results are small, and few are in flight."""

CONNECT_S = 10
"""Timeout in seconds of the first connection to a cluster's head."""

NODES_S = 60
"""Timeout in seconds until a cluster has a node with enough CPUs."""

FOLDER = "nas-ray-"
"""Prefix of the temporary folders of local Rays; the process id follows."""

JOINED = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0", "RAY_task_oom_retries": str(RETRIES)}
"""Environment of every driver: no usage statistics, no colors, and a limit to retries of tasks that run out of memory
(Ray's default is none)."""

LOCAL = {**JOINED, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
"""Environment of a local Ray: the loopback device alone (Ray's switch for it is named after the systems where it is the
default), and a token."""

_token = ""
"""The token of a local Ray; ray reads it once, when it is imported."""


class RayWorkers(Workers):
    """``count`` tasks at once, with ``cpus`` and ``gpus`` each, on the cluster at ``address`` or on a new local Ray."""

    def __init__(self, count: int, address: str | None = None, cpus: int = 1, gpus: float = 0.0) -> None:
        self.count = count
        self._folder: Path | None = None
        self._keys: dict[Any, Hashable] = {}
        self._output = ExitStack()
        self._before = {name: os.environ.get(name) for name in (*LOCAL, "RAY_AUTH_TOKEN")}
        if address is None:
            if not _token and "ray" in sys.modules:
                raise BadInput(
                    "a local Ray cannot be started: this program imported ray before, and ray reads the token of a "
                    "local Ray when it is imported; open the workers first, or join a cluster by its address"
                )
            os.environ.update(LOCAL, RAY_AUTH_TOKEN=_own_token())
        else:
            os.environ.update(JOINED)
        try:
            import ray
        except ModuleNotFoundError as error:
            self._restore_environment()
            raise missing_package("work in several processes", error.name, "ray") from error
        self._ray = ray
        # Ray reports dead workers from a thread of its own on stdout, where results belong.
        self._output.enter_context(redirect_stdout(sys.stderr))
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
                _check_connection(address)
                self._ray.init(address=address, namespace="nas", **quiet)
                return
            _remove_stale_folders()
            self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=_short_folder()))
            self._ray.init(
                address="local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False, object_store_memory=STORE_BYTES,
                _temp_dir=str(self._folder), _node_ip_address="127.0.0.1", **quiet,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            if address is None:
                raise BadInput(
                    f"a local Ray cannot be started ({reason}): work in one process, without --workers or --jobs, "
                    "or join a cluster with --address"
                ) from error
            raise BadInput(
                f"no Ray cluster answers at {address!r} ({reason}): start one (`ray start --head`), "
                "or leave out --address"
            ) from error

    def _check_nodes(self, cpus: int, gpus: float) -> None:
        """Wait until a node has room for a task; nodes of a cluster may still be starting."""
        deadline = time.monotonic() + NODES_S
        while True:
            resources = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            if any(node.get("CPU", 0.0) >= cpus and node.get("GPU", 0.0) >= gpus for node in resources):
                return
            if time.monotonic() > deadline:
                raise BadInput(
                    f"no node of the cluster has {cpus} CPU and {gpus:g} GPU for a job: "
                    "start workers with `ray start --address HOST:PORT`"
                )
            time.sleep(1.0)

    @property
    def in_flight(self) -> int:
        return len(self._keys)

    def share(self, argument: Any) -> Any:
        return self._ray.put(argument)

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
            reason = " ".join(str(error).split())[:300]
            return JobResult(key, failure=f"{type(error).__name__}, begun {RETRIES + 1} times: {reason}")

    def close(self) -> None:
        self._keys.clear()
        try:
            self._ray.shutdown()
        finally:
            self._output.close()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None
            self._restore_environment()

    def _restore_environment(self) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check_connection(address: str) -> None:
    """Fail within seconds where nothing listens; Ray itself tries for two minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()


def _own_token() -> str:
    """The token of this process, made once because Ray reads it once."""
    global _token
    _token = _token or secrets.token_hex(32)
    return _token


def _short_folder() -> str:
    """A folder for Ray's sockets, whose paths must stay below 108 characters."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 24 else "/tmp"


def _remove_stale_folders() -> None:
    """Remove the folders of local Rays whose driver was killed."""
    for folder in Path(_short_folder()).glob(f"{FOLDER}*-*"):
        pid = folder.name.removeprefix(FOLDER).partition("-")[0]
        if pid.isdecimal() and folder.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
