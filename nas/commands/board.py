"""Open TensorBoard on runs: curves, pictures, and the finalists side by side. It listens on this machine alone."""

from __future__ import annotations

import argparse

HELP = "open TensorBoard on runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``nas board``."""
    parser.add_argument("run_folder", nargs="?", default="runs", metavar="RUN", help="one run folder, or the folder of all (default runs)")
    parser.add_argument("--port", type=int, default=6006, help="default 6006")


def run(args: argparse.Namespace) -> int:
    """Start TensorBoard and wait for Ctrl-C."""
    import subprocess
    import sys
    from pathlib import Path

    from search_spaces.errors import BadInput

    folder = Path(args.run_folder)
    if not folder.is_dir():
        raise BadInput(f"no run folder {args.run_folder!r}: run a search first, or name another folder")
    if not 0 < args.port < 65536:
        raise BadInput(f"port {args.port} must be between 1 and 65535")
    print(f"TensorBoard: http://localhost:{args.port}/  (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "localhost", "--port", str(args.port)]
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0
