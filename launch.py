"""The one set-up and start of Tunesmith: needs nothing but Python 3.11 or newer.

python3 launch.py                  sets up what is missing, then opens the window
python3 launch.py test [ARGS]      runs the whole test-suite (ARGS go to pytest)
python3 launch.py --setup          only sets up
python3 launch.py --demo [...]     drives the window through the bundled example (options go to the window)
python3 launch.py -- VERB [...]    hands a verb to the engine, for example: -- doctor

Set-up makes `.venv` beside this file, picks the torch build for this machine, installs the pins of the lock
files, checks Qt's system libraries and puts the starter model on disk. A stamp makes the next start instant.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "tunesmith-setup.json"
OLDEST_PYTHON = (3, 11)
TORCH = "2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl"
# Builds that PyTorch may offer of this release, newest first; the first one that is really there is taken.
TORCH_BUILDS = {
    "cpu": ["cpu"],
    "cuda": ["cu132", "cu130", "cu129", "cu128", "cu126"],
    "rocm": ["rocm7.2", "rocm7.1", "rocm7.0", "rocm6.4"],
}
INDEX_SECONDS = 5.0

# Library -> its package for apt, dnf and pacman.
QT_LIBRARIES = {
    "libEGL.so.1": ("libegl1", "libglvnd-egl", "libglvnd"),
    "libGL.so.1": ("libgl1", "libglvnd-glx", "libglvnd"),
    "libxkbcommon.so.0": ("libxkbcommon0", "libxkbcommon", "libxkbcommon"),
    "libdbus-1.so.3": ("libdbus-1-3", "dbus-libs", "dbus"),
    "libfontconfig.so.1": ("libfontconfig1", "fontconfig", "fontconfig"),
    "libfreetype.so.6": ("libfreetype6", "freetype", "freetype2"),
    "libglib-2.0.so.0": ("libglib2.0-0", "glib2", "glib2"),
    "libX11.so.6": ("libx11-6", "libX11", "libx11"),
}
# Only where there is an X display to draw on.
XCB_LIBRARIES = {
    "libX11-xcb.so.1": ("libx11-xcb1", "libX11-xcb", "libx11"),
    "libxcb-cursor.so.0": ("libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor"),
    "libxcb-icccm.so.4": ("libxcb-icccm4", "xcb-util-wm", "xcb-util-wm"),
    "libxcb-image.so.0": ("libxcb-image0", "xcb-util-image", "xcb-util-image"),
    "libxcb-keysyms.so.1": ("libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms"),
    "libxcb-randr.so.0": ("libxcb-randr0", "libxcb", "libxcb"),
    "libxcb-render-util.so.0": ("libxcb-render-util0", "xcb-util-renderutil", "xcb-util-renderutil"),
    "libxcb-shape.so.0": ("libxcb-shape0", "libxcb", "libxcb"),
    "libxcb-xkb.so.1": ("libxcb-xkb1", "libxcb", "libxcb"),
    "libxkbcommon-x11.so.0": ("libxkbcommon-x11-0", "libxkbcommon-x11", "libxkbcommon-x11"),
}


class SetupError(Exception):
    """Why the set-up cannot go on, in words for a person."""


def say(text: str) -> None:
    """Tell what is being done, on stderr: stdout belongs to what is started."""
    print(f"tunesmith: {text}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------ Python and .venv


def check_python(version: tuple[int, ...]) -> None:
    """Refuse a Python that is too old, naming the one that was found."""
    if version < OLDEST_PYTHON:
        found, needed = ".".join(map(str, version[:3])), ".".join(map(str, OLDEST_PYTHON))
        raise SetupError(
            f"Python {needed} or newer is needed; this is {found} ({sys.executable}).\n"
            f"Install a newer one, then start with it, for example: python{needed} launch.py"
        )


def venv_python() -> Path:
    """Return the interpreter inside `.venv`."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_venv() -> None:
    """Make `.venv`, or make it anew when it was moved here, or its Python or its pip is gone."""
    probe = "import sys, pip; print(sys.prefix)"
    if venv_python().exists():
        done = subprocess.run([venv_python(), "-I", "-c", probe], capture_output=True, text=True)
        if done.returncode == 0 and Path(done.stdout.strip()).resolve() == VENV.resolve():
            return
        say(f"{VENV} is not usable here, making it anew")
    ensure_venv_module()
    say(f"making {VENV}")
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], "The environment could not be made")


def ensure_venv_module() -> None:
    """Debian ships Python without `ensurepip`; install it as root, else say how."""
    if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
        return
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if not install_with_apt([package]):
        raise SetupError(f"This Python cannot make environments. Install: sudo apt-get install {package}")


# --------------------------------------------------------------------------------------------- torch's build


def torch_kind() -> str:
    """Return what this machine computes with: cpu, cuda, rocm or default (macOS has one build)."""
    if sys.platform == "darwin":
        return "default"
    if Path("/proc/driver/nvidia/version").exists() or cuda_version() is not None:
        return "cuda"
    # AMD's kernel driver lists CPUs with the id 0 and GPUs with another.
    nodes = [Path(p).read_text().strip() for p in glob.glob("/sys/class/kfd/kfd/topology/nodes/*/gpu_id")]
    return "rocm" if any(node not in ("", "0") for node in nodes) else "cpu"


def cuda_version() -> tuple[int, int] | None:
    """Return the newest CUDA that the NVIDIA driver serves, as nvidia-smi says, or None without a GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if done.returncode == 0 and found else None


def wanted_builds(kind: str, driver: tuple[int, int] | None) -> list[str]:
    """Return the builds to look for, best first; a CUDA build needs a driver of its major version."""
    builds = TORCH_BUILDS.get(kind, [])
    if kind == "cuda" and driver is not None:
        builds = [b for b in builds if int(b[2:4]) <= driver[0]]
    return builds


def find_torch_index(builds: list[str]) -> str | None:
    """Return the address of the first build that PyTorch's own index offers; None when it is away."""
    answer: list[str] = []

    def look() -> None:
        for build in builds:
            address = f"{TORCH_INDEX}/{build}"
            try:
                with urllib.request.urlopen(f"{address}/torch/", timeout=INDEX_SECONDS) as page:
                    if f"torch-{TORCH}" in page.read().decode("utf-8", "replace"):
                        answer.append(address)
                        return
            except urllib.error.HTTPError:
                continue  # this build is not offered; the next one may be
            except OSError:
                return

    # In a thread of its own, because a name look-up has no time limit.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(INDEX_SECONDS * 2)
    return answer[0] if answer else None


def install_torch(kind: str) -> None:
    """Install the pinned torch in this machine's build; where PyTorch's index is away, as pip is set up."""
    found = subprocess.run(
        [venv_python(), "-I", "-c", "import importlib.metadata as m; print(m.version('torch'))"],
        capture_output=True,
        text=True,
    )
    if found.returncode == 0 and found.stdout.strip().split("+")[0] == TORCH:
        return
    index = find_torch_index(wanted_builds(kind, cuda_version() if kind == "cuda" else None))
    say(
        f"installing torch {TORCH} for {kind}"
        + (f" from {index}" if index else ", from where pip is set up to look")
    )
    pip_install([f"torch=={TORCH}", "--constraint", lock("base"), *(["--index-url", index] if index else [])])


# ------------------------------------------------------------------------------------------------------- pip


def lock(name: str) -> str:
    """Return the path of a lock file."""
    return str(ROOT / "requirements" / f"{name}.lock")


def pip_install(arguments: list[str]) -> None:
    """Let the environment's own pip install something; pip's settings of this machine are honoured."""
    command = [str(venv_python()), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    run([*command, *arguments], "pip could not install what Tunesmith needs")


def run(command: list[str], complaint: str) -> None:
    """Run a command whose output a person may see; a failure ends the set-up with `complaint`."""
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()).returncode
    except OSError as error:
        raise SetupError(f"{complaint}: {error}") from error
    if code != 0:
        raise SetupError(f"{complaint} (see above).\nTried: {' '.join(command)}")


# -------------------------------------------------------------------------------------------- Qt's libraries


def missing_libraries(display: bool) -> dict[str, tuple[str, str, str]]:
    """Return the system libraries of Qt that cannot be loaded, with their packages."""
    if not sys.platform.startswith("linux"):
        return {}
    wanted = {**QT_LIBRARIES, **(XCB_LIBRARIES if display else {})}
    return {name: packages for name, packages in wanted.items() if not can_load(name)}


def can_load(library: str) -> bool:
    """Say whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_command(missing: dict[str, tuple[str, str, str]]) -> tuple[str, list[str]]:
    """Return the one command that installs the missing libraries here, and its packages."""
    for column, (program, words) in enumerate(
        [("apt-get", "apt-get install -y"), ("dnf", "dnf install -y"), ("pacman", "pacman -S --needed")]
    ):
        if shutil.which(program):
            packages = sorted({names[column] for names in missing.values()})
            return f"sudo {words} {' '.join(packages)}", packages
    return "the packages of your system that hold " + ", ".join(sorted(missing)), []


def ensure_qt_libraries() -> None:
    """See that Qt can start: as root on Debian install what is missing, else say the command and stop."""
    display = bool(os.environ.get("DISPLAY"))
    missing = missing_libraries(display)
    if not missing:
        return
    command, packages = install_command(missing)
    if shutil.which("apt-get") and install_with_apt(packages):
        missing = missing_libraries(display)
    if missing:
        raise SetupError(
            f"Qt needs system libraries that are not here: {', '.join(missing)}.\nInstall them: {command}"
        )


def install_with_apt(packages: list[str]) -> bool:
    """Install Debian packages when running as root; say whether that worked."""
    if shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    say(f"installing system packages: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    steps = [["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]]
    for step in steps:
        done = subprocess.run(
            ["apt-get", *step], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    if done.returncode != 0:
        say(f"apt-get could not: {done.stderr.strip()}")
    return done.returncode == 0


# ------------------------------------------------------------------------------------------ the whole set-up


def fingerprint() -> str:
    """Return a digest of all that the environment was made from."""
    digest = hashlib.sha256(f"{sys.version_info[:3]} {VENV}".encode())
    for path in [ROOT / "pyproject.toml", *sorted((ROOT / "requirements").glob("*.lock"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_stamp() -> dict[str, object]:
    """Return what the last set-up did here; empty when there was none or its note is damaged."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    fresh = isinstance(stamp, dict) and stamp.get("fingerprint") == fingerprint() and venv_python().exists()
    return stamp if fresh else {}


def write_stamp(stamp: dict[str, object]) -> None:
    """Note what was done, whole or not at all."""
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps({"fingerprint": fingerprint(), **stamp}), encoding="utf-8")
    part.replace(STAMP)


def set_up(with_tests: bool) -> dict[str, object]:
    """Bring the environment to what the lock files say and return its stamp; instant when it is so."""
    stamp = read_stamp()
    if not stamp:
        say("setting up; the first time takes some minutes and about 2 GB of disk")
        ensure_venv()
        kind = torch_kind()
        say("installing the pinned packages")
        pip_install(["--requirement", lock("base")])
        install_torch(kind)
        pip_install(["--requirement", lock("train")])
        pip_install(["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
        stamp = {"torch": kind}
        write_stamp(stamp)
    if with_tests and not stamp.get("tests"):
        say("installing what the tests need")
        pip_install(["--requirement", lock("test")])
        stamp["tests"] = True
        write_stamp(stamp)
    return stamp


def ensure_starter(stamp: dict[str, object]) -> None:
    """Put the starter model on disk once for each home; without it the window opens and offers it later."""
    home = os.environ.get("TUNESMITH_HOME", "")
    if stamp.get("starter") == home:
        return
    say("putting the starter model on disk")
    command = module_command("engine", ["models", "get", "starter"])
    if subprocess.run(command, env=child_environment(), stdout=sys.stderr.fileno()).returncode != 0:
        say("the starter model is not there yet; it is fetched the first time it is needed")
        return
    stamp["starter"] = home
    write_stamp(stamp)


def choose_home(arguments: list[str]) -> None:
    """Let the window's option `--home DIR` say where the starter goes, too."""
    chosen = re.search(r"(?:^|\0)--home[=\0]([^\0]+)", "\0".join(arguments))
    if chosen:
        os.environ["TUNESMITH_HOME"] = str(Path(chosen[1]).expanduser().absolute())


def child_environment() -> dict[str, str]:
    """Return this environment, with threads that sleep while they wait (cores are shared with the window)."""
    return {"OMP_WAIT_POLICY": "passive", **os.environ}


def module_command(module: str, arguments: list[str]) -> list[str]:
    """Return the command that runs a module; `-P` keeps files of the current folder from being imported."""
    return [str(venv_python()), "-P", "-X", "utf8", "-m", module, *arguments]


def hand_over(command: list[str]) -> int:
    """Become the command (on Windows, wait for it): signals and the exit code are its own."""
    sys.stdout.flush()
    if os.name == "nt":
        return subprocess.run(command, env=child_environment()).returncode
    os.execve(command[0], command, child_environment())


def main(arguments: list[str]) -> int:
    """Do what the command line asks; 2 and a plain message when the set-up cannot be done."""
    try:
        check_python(sys.version_info[:3])
        if arguments[:1] in (["-h"], ["--help"]):
            print(__doc__)
            return 0
        if arguments[:1] == ["--"]:
            set_up(with_tests=False)
            return hand_over(module_command("engine", arguments[1:] or ["--help"]))
        stamp = set_up(with_tests=arguments[:1] == ["test"])
        ensure_qt_libraries()
        if arguments[:1] == ["test"]:
            os.chdir(ROOT)
            cores = ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]
            return hand_over(module_command("pytest", [*cores, *arguments[1:]]))  # a later -n counts
        choose_home(arguments)
        ensure_starter(stamp)
        if arguments[:1] == ["--setup"]:
            say("everything is in place; python3 launch.py opens the window")
            return 0
        return hand_over(module_command("app", arguments))
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("stopped; the next start goes on from here")
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
