"""Runs in a process that had the libraries loaded before: for tests of what a run does, not of its start.

A child takes some five seconds of a processor to import torch, transformers and peft, and one or two for the
rest of a tiny run. Here one process for each worker of pytest imports them once and forks for each run; the
fork enters through the child's own command line, with its environment, folder, log, lock, signals and exit
status. What a fork shares with its sisters (the seed of hashes, the memory of the libraries, the
command line that others see) is no subject of these tests: starts, kills, ranks, memory and isolation
are proved with `process.start`, which `run_to_end` of conftest.py takes.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from engine import cli, durable, paths
from engine.jobs import process
from engine.runs import store

ROOT = Path(__file__).parents[2]
_SERVERS: dict[int, subprocess.Popen[bytes]] = {}  # by pid of the process of tests that started one


def run_to_end(folder: Path, timeout: float = 120, environment: dict[str, str] | None = None) -> str:
    """Run the job of a folder in a fork and wait for its end; return the state.

    Where a system has no fork, in a child of its own.
    """
    if not hasattr(os, "fork"):
        process.start(folder, environment=environment).wait(timeout)
        return store.state_of(folder)
    durable.make_folder(folder / "control", inside=folder)
    server = _server()
    order = {"folder": str(folder.resolve()), "environment": process.child_environment(environment)}
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(order).encode() + b"\n")
    server.stdin.flush()
    ready, _, _ = select.select([server.stdout], [], [], timeout)
    if not ready:
        _end(server)
        raise TimeoutError(f"{folder} still runs: {process.last_words(folder)}")
    assert json.loads(server.stdout.readline())["folder"] == order["folder"]
    return store.state_of(folder)


def _server() -> subprocess.Popen[bytes]:
    """Return this process's server, started the first time."""
    server = _SERVERS.get(os.getpid())
    if server is None or server.poll() is not None:
        server = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-m", "tests.integration.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=process.child_environment(),
            start_new_session=True,
        )
        _SERVERS[os.getpid()] = server
        atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server with the fork it waits for."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


# ----------------------------------------------------------------------------------------------- the server


def serve() -> None:
    """Import what runs need, then fork for each line of stdin and tell on stdout when the fork has ended."""
    from engine.runtime import child, imports

    imports.forbid_kernels()
    child._kinds()
    from peft.tuners import lora  # noqa: F401
    from peft.utils import transformers_weight_conversion  # noqa: F401
    from transformers.models.llama import modeling_llama  # noqa: F401

    cli.build_parser()
    gc.freeze()
    for line in sys.stdin.buffer:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_child(Path(order["folder"]), order["environment"])
        _, status = os.waitpid(pid, 0)
        answer = {"folder": order["folder"], "exit": os.waitstatus_to_exitcode(status)}
        os.write(1, json.dumps(answer).encode() + b"\n")


def _be_child(folder: Path, environment: dict[str, Any]) -> NoReturn:
    """Be the child that `process.start` would have started, from its command line on."""
    status = 70
    try:
        os.environ.clear()
        os.environ.update(environment, **{process.BEGUN: str(time.time_ns())})
        os.chdir(paths.neutral_folder())
        with open(folder / "child.log", "ab") as log, open(os.devnull, "rb") as nothing:
            for descriptor, end in ((nothing.fileno(), 0), (log.fileno(), 1), (log.fileno(), 2)):
                os.dup2(descriptor, end)
        status = cli.main(["job", str(folder)])
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
