"""Open TensorBoard on runs: curves, images, and candidates side by side. It listens on localhost only.

Every run is one entry; --finalists adds those of searches (their networks for the Graphs tab, their rows of HParams).

examples:
  nas board                        all runs in ./runs
  nas board runs/A runs/B          these two
  nas board runs/A --port 6007
  nas board runs/A --finalists
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

HELP = "open TensorBoard on runs"
REFRESH_S = 10.0
"""Seconds between looks for new runs and files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas board``."""
    runs = "run folders, or the folder of all runs (default: runs)"
    parser.add_argument("run_folders", nargs="*", metavar="RUN", help=runs)
    finalists = "also an entry for every finalist of a search, with its network and its row of HParams"
    parser.add_argument("--finalists", action="store_true", help=finalists)
    parser.add_argument("--port", type=int, default=6006, help="port of the web page (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Start TensorBoard and wait for Ctrl-C."""
    import signal
    import subprocess
    import sys

    from workbench.errors import BadInput

    folders = [Path(name) for name in args.run_folders or ["runs"]]
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"no run folder {str(folder)!r}: run a search first (nas search), or name another folder")
    if not 0 < args.port < 65536:
        raise BadInput(f"port {args.port} must be between 1 and 65535")
    _check_free(args.port)
    with _view(folders, args.finalists) as (logdir, refresh):
        program = [sys.executable, "-m", "tensorboard.main"]
        command = [*program, "--logdir", str(logdir), "--host", "localhost", "--port", str(args.port)]
        # Shells start background jobs with SIGINT ignored, and SIGTERM would leave TensorBoard running.
        before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        server = subprocess.Popen(command)
        try:
            print(f"TensorBoard: http://localhost:{args.port}/  (Ctrl-C ends it)", flush=True)
            code = _wait(server, refresh)
            return 0 if code == 0 else 1
        except KeyboardInterrupt:
            return 0
        finally:
            _end(server)
            for number, handler in before.items():
                signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _check_free(port: int) -> None:
    """Refuse a port that is in use, before its address is printed."""
    import socket

    from workbench.errors import BadInput

    with socket.socket() as probe:
        # As servers do, so that a port that was just closed counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("localhost", port))
        except OSError as error:
            raise BadInput(f"port {port}: {error.strerror or error}; choose another with --port") from error


@contextmanager
def _view(folders: Sequence[Path], finalists: bool) -> Iterator[tuple[Path, Callable[[], object]]]:
    """A temporary folder of links for TensorBoard, and what to call for runs and files that came since."""
    import tempfile

    from nas.report.board_view import link_runs

    with tempfile.TemporaryDirectory(prefix="nas-board-") as name:
        link_runs(folders, Path(name), finalists)
        yield Path(name), lambda: link_runs(folders, Path(name), finalists)


def _wait(server: subprocess.Popen[bytes], refresh: Callable[[], object]) -> int:
    """Wait for TensorBoard to end, and show it new runs meanwhile; its exit code."""
    import subprocess

    while True:
        try:
            return server.wait(timeout=REFRESH_S)
        except subprocess.TimeoutExpired:
            refresh()


def _end(server: subprocess.Popen[bytes]) -> None:
    """Stop TensorBoard if it still runs; it usually received Ctrl-C itself."""
    import subprocess

    try:
        server.wait(timeout=1)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        server.terminate()
        try:
            server.wait(timeout=5)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            server.kill()
            server.wait()
