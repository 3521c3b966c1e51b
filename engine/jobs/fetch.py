"""Downloads in a process of their own: the only one that speaks to the network, and that is given the token.

`python -I -X utf8 -m engine.jobs.fetch` reads one JSON line, what to bring and the token, and writes JSON
lines: how many bytes are here, and at last the answer or the error. It ends when its standard input does:
nothing goes on downloading for a window that is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from engine import hub, hub_token, paths
from engine.errors import EngineError
from engine.jobs.process import child_environment

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
# What leads out of this network, for this child alone.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_WAY_OUT = (*_PROXIES, "HF_ENDPOINT", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
PULSE_SECONDS = 0.2
_ENDED = "Start the download again; the files that are complete are kept."


def dataset_files(identity: str, revision: str | None = None) -> list[hub.HubFile]:
    """Ask the hub, from a child, which data files a data set has; see `hub.dataset_files`."""
    answer = _ask({"what": "list", "id": identity, "revision": revision})
    return [hub.HubFile(**each) for each in answer]


def download_dataset(
    identity: str,
    revision: str | None = None,
    files: Sequence[str] | None = None,
    progress: hub.Progress | None = None,
) -> Path:
    """Bring a data set to disk from a child; see `hub.download_dataset`.

    What `progress` raises ends the child; files that are complete stay.
    """
    named = None if files is None else list(files)
    return Path(_ask({"what": "dataset", "id": identity, "revision": revision, "files": named}, progress))


def download_model(identity: str, revision: str | None = None, progress: hub.Progress | None = None) -> Path:
    """Bring a model's plain files to the hub's cache from a child; see `hub.download_model`."""
    return Path(_ask({"what": "model", "id": identity, "revision": revision}, progress))


def environment() -> dict[str, str]:
    """Return the environment of the child that downloads: an allow-list, the way out, and no token."""
    made = child_environment()
    for name in OFFLINE:
        made.pop(name, None)
    for name in (*OFFLINE, *_WAY_OUT, *(n.lower() for n in _WAY_OUT)):
        if name in os.environ:
            made[name] = os.environ[name]
    return made | {"NETRC": os.devnull}


def _ask(request: dict[str, Any], progress: hub.Progress | None = None) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-I", "-X", "utf8", "-m", "engine.jobs.fetch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=paths.neutral_folder(),
        env=environment(),
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({**request, "token": hub_token.find()}).encode() + b"\n")
            process.stdin.flush()
        return _heard(process.stdout, progress)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _heard(lines: IO[bytes], progress: hub.Progress | None) -> Any:
    """Return the child's answer, telling how far it is; raises the error it reports."""
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a library's words
        if "bytes" in said and progress is not None:
            progress(*said["bytes"])
        if "error" in said:
            raise EngineError(**said["error"])
        if "answer" in said:
            return said["answer"]
    raise EngineError("The download ended before it was done.", _ENDED, "HUB-02")


# -- the child -----------------------------------------------------------------------------------------------
def main() -> int:
    """Do what the one line on standard input asks for; 0 when it was done, 1 when it failed."""
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = _do(request, _Teller())
    except EngineError as error:
        _say({"error": error.as_dict()})
        return 1
    _say({"answer": answer})
    return 0


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _say(words: dict[str, Any]) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


class _Teller:
    """Passes on how many bytes are here: at the ends, and as a pulse that lets a stop be heard in a stall."""

    def __init__(self) -> None:
        self._here: tuple[int, int] | None = None
        threading.Thread(target=self._beat, daemon=True).start()

    def __call__(self, done: int, total: int) -> None:
        if self._here is None or done >= total:
            _say({"bytes": [done, total]})
        self._here = (done, total)

    def _beat(self) -> None:
        while True:
            time.sleep(PULSE_SECONDS)
            if self._here is not None:
                _say({"bytes": self._here})


def _do(request: dict[str, Any], progress: Callable[[int, int], None]) -> Any:
    identity, revision, token = request["id"], request["revision"], request["token"]
    if request["what"] == "list":
        return [vars(file) for file in hub.dataset_files(identity, revision, token=token)]
    if request["what"] == "model":
        return str(hub.download_model(identity, revision, progress, token=token))
    return str(hub.download_dataset(identity, revision, request["files"], progress, token=token))


if __name__ == "__main__":
    raise SystemExit(main())
