"""A process that runs ``nas`` commands in forked children, under limits, and reports what they did.

Started as ``python -m tests.hostile.server``: it loads the libraries once, then reads one request a line.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workbench.no_telemetry import turn_off

DEVICES = ("/dev/null", "/dev/tty", "/dev/shm")


def serve() -> None:
    """Answer requests from stdin until it closes."""
    turn_off()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder  # its list of fonts is made here, once
        load_libraries()
        for line in sys.stdin:
            request = json.loads(line)
            print(json.dumps(answer(request)), flush=True)


def load_libraries() -> None:
    """Import what commands import, so that a child has it."""
    import torch
    from PIL import Image

    for name in ("matplotlib.pyplot", "scipy.optimize", "scipy.stats", "scipy.sparse", "cv2", "onnx.shape_inference"):
        importlib.import_module(name)
    for package in ("nas", "zoo", "distill", "search_spaces"):
        for module in pkgutil.walk_packages([package], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    torch.set_num_threads(1)
    Image.init()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one request in a child; what the operating system says about it."""
    folder, seconds = Path(request["folder"]), float(request["seconds"])
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        run_child(request, folder)
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done or time.monotonic() - began > seconds:
            break
        time.sleep(0.005)
    late = not done
    if late:
        os.kill(child, 9)
        _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "late": late,
        "seconds": time.monotonic() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "mb": usage.ru_maxrss / 1024,
    }


def run_child(request: dict[str, Any], folder: Path) -> None:
    """Run the command in the child and end it."""
    code = 70
    try:
        own = folder / "own"
        home, temporary = own / "home", own / "tmp"
        for place in (home, temporary):
            place.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        os.environ.update(HOME=str(home), TMPDIR=str(temporary), NAS_DEBUG="1", XDG_CACHE_HOME=str(home))
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        streams = [os.open(own / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("out", "err", "strays")]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(streams[0], 1)
        os.dup2(streams[1], 2)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "rw"[n > 0], encoding="utf-8") for n in range(3))
        watch(folder, streams[2])
        code = command(request["argv"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def command(argv: list[str]) -> int:
    """The exit code of one command."""
    from nas.cli import main

    try:
        return misbehave(argv[1], Path(argv[2])) if argv[0] == "misbehave" else main(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def misbehave(how: str, outside: Path) -> int:
    """Break one promise: what tests of these tests ask for. ``outside`` is a file that is not the case's."""
    if how == "write":
        outside.write_text("x")
    elif how == "connect":
        socket.socket().connect_ex(("127.0.0.1", 9))
    elif how == "escape":
        print("nas: \x1b[31mred", file=sys.stderr)
    elif how == "traceback":
        raise KeyError("x")
    elif how == "memory":
        len(b"x" * (3 * 2**30))
    elif how == "payload":
        Path("PAYLOAD").touch()
    elif how == "lines":
        print("nas: one\nnas: two", file=sys.stderr)
    elif how == "sleep":
        time.sleep(100)
    return 2


def watch(folder: Path, strays: int) -> None:
    """Record writes outside ``folder``, connections and programs that are started."""
    real = os.path.realpath(folder)

    def note(text: str) -> None:
        os.write(strays, (text + "\n").encode("utf-8", "backslashreplace"))

    def outside(path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        place = os.path.realpath(os.fsdecode(path))
        return not place.startswith((real, *DEVICES))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            mode, flags = args[1], args[2]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if (writes or any(c in str(mode or "") for c in "wax+")) and outside(args[0]):
                note(f"write {args[0]!r}")
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.symlink", "os.chmod", "os.truncate"):
            if any(outside(path) for path in args[:2]):
                note(f"{event} {args[:2]!r}")
        elif event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "os.system", "subprocess.Popen"):
            note(f"{event} {args!r:.200}")

    sys.addaudithook(hook)


if __name__ == "__main__":
    serve()
