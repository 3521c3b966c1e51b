"""Whether the installed torch can compute on the GPUs here; told from files, torch is not imported."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.errors import EngineError
from engine.hardware.devices import Gpu, Machine, nvidia_hardware_present

# Oldest driver of a CUDA generation, from NVIDIA's table of minor version compatibility.
DRIVERS = {11: (450, 80), 12: (525, 60), 13: (580,)}
# (oldest torch, oldest CUDA, lowest and highest compute capability that its packages hold code for); the
# first that fits counts. From the CUDA support matrix in PyTorch's RELEASE.md.
CAPABILITIES = (
    ((2, 8), (13, 0), (7, 5), (12, 9)),
    ((2, 11), (12, 8), (7, 5), (12, 9)),
    ((2, 8), (12, 8), (7, 0), (12, 9)),
    ((2, 5), (11, 8), (5, 0), (9, 9)),
)
VERSION_OF_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class TorchBuild:
    """A torch package: its version and the CUDA it was built with, empty for a build without."""

    version: str
    cuda: str = ""
    hip: str = ""


@lru_cache(maxsize=1)
def installed() -> TorchBuild | None:
    """Return the torch of this interpreter, None where there is none or its version file is unlike any."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return None
    try:
        tree = ast.parse((Path(spec.origin).parent / "version.py").read_text("utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
    values: dict[str, str] = {}
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])
        target = targets[0]
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            values[target.id] = value.value
    version = values.get("__version__", "")
    return TorchBuild(version, values.get("cuda", ""), values.get("hip", "")) if version else None


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, those after a plus sign left out."""
    return tuple(int(n) for n in re.findall(r"\d+", text.partition("+")[0])[:3])


def driver_found() -> str:
    """Return the version of the NVIDIA driver in the kernel, empty where it is not loaded."""
    try:
        text = VERSION_OF_DRIVER.read_text("utf-8", "replace")
    except OSError:
        return ""
    match = re.search(r"(\d{3,}(?:\.\d+)+)", text)
    return match.group(1) if match else ""


def problem_of(
    machine: Machine,
    build: TorchBuild | None,
    *,
    present: bool | None = None,
    cpu_time: Callable[[], str] = str,
) -> EngineError | None:
    """Return why training cannot use the GPU of a machine (GPU-03), None where it can or there is none.

    `cpu_time` says how long the run would take on the processor; it is asked only where that is of use.
    """
    here = nvidia_hardware_present() if present is None else present
    if build is None or build.hip or not (machine.devices or here):
        return None
    found, needed, remedy = _mismatch(machine, build)
    if not needed:
        return None
    time = cpu_time()
    way = f"train on the CPU ({time})" if time else "train on the CPU"
    return EngineError(f"{found}; {needed} needed.", f"{remedy}, or {way}.", "GPU-03")


def _mismatch(machine: Machine, build: TorchBuild) -> tuple[str, str, str]:
    """Return what was found, what is needed instead and the remedy; three empty texts where all fits."""
    setup = "Run `python3 launch.py --setup`"
    if not build.cuda:
        return f"torch {build.version} has no GPU support", "a build with CUDA is", setup
    cuda = numbers(build.cuda)
    oldest = DRIVERS.get(cuda[0], ())
    driver = machine.devices[0].driver if machine.devices else driver_found()
    wanted = f"{'.'.join(map(str, oldest))} or newer for CUDA {build.cuda} is"
    if not machine.devices and not driver:
        return "The driver of the GPU does not answer", f"driver {wanted}", "Install or restart the driver"
    if oldest and numbers(driver) < oldest:
        return f"Driver {driver} is too old", wanted, "Update the driver"
    if not machine.devices:
        return f"Driver {driver} does not answer", f"a driver that does, {wanted}", "Restart the computer"
    unfit = [gpu for gpu in machine.devices if not _fits(gpu, build)]
    if unfit and len(unfit) == len(machine.devices):
        return _capability(unfit[0], build)
    return "", "", ""


def _range(build: TorchBuild) -> tuple[tuple[int, int], tuple[int, int]] | None:
    torch, cuda = numbers(build.version), numbers(build.cuda)
    return next((row[2:] for row in CAPABILITIES if torch >= row[0] and cuda >= row[1]), None)


def _fits(gpu: Gpu, build: TorchBuild) -> bool:
    limits = _range(build)
    return gpu.capability is None or limits is None or limits[0] <= gpu.capability <= limits[1]


def _capability(gpu: Gpu, build: TorchBuild) -> tuple[str, str, str]:
    limits = _range(build) or ((0, 0), (0, 0))
    has = ".".join(map(str, gpu.capability or (0, 0)))
    low, high = (".".join(map(str, limit)) for limit in limits)
    too_new = (gpu.capability or (0, 0)) > limits[1]
    found = f"{gpu.name} has compute capability {has}"
    needed = f"{low} to {high} for torch {build.version} with CUDA {build.cuda} is"
    return found, needed, "Install a newer torch" if too_new else "Install torch built with an older CUDA"
