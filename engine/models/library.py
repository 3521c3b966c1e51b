"""Which models and adapters are on this computer, and what a name such as `starter` stands for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.models import archives
from engine.models.adapter_facts import CONFIG, WEIGHTS, AdapterFacts, read_adapter_facts
from engine.models.config_keys import is_builtin
from engine.models.facts import ModelFacts, read_facts
from engine.models.rebuilt import own_code
from engine.models.refused import Refused, folder_name
from engine.models.sound_values import refuse_no_numbers
from engine.models.starter import download_starter
from engine.models.weight_files import read_json
from engine.probes import proof

STARTER = "starter"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.\-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
Facts = TypeVar("Facts", ModelFacts, AdapterFacts)
CONVERT_SECONDS = 3600.0


def starter_folder() -> Path:
    """Return where the starter model lies once it is on disk."""
    return paths.models_dir() / STARTER


def starter_ready() -> bool:
    """Return whether the starter model is on disk."""
    return (starter_folder() / "config.json").is_file()


def ensure_starter() -> Path:
    """Return the starter's folder, bringing it to disk the first time (download, then convert in a child).

    Raises EngineError HUB-01 / HUB-02 when it cannot be had, DISK-* when it cannot be written.
    """
    if not starter_ready():
        convert_in_child(download_starter(), starter_folder())
    return starter_folder()


def convert_in_child(gguf: Path, out: Path) -> None:
    """Turn a .gguf into a plain model folder; torch is needed for it, so a process of its own does it.

    The child's last line of output is the error as JSON when it fails.
    """
    import json

    command = [
        sys.executable,
        "-I",
        "-X",
        "utf8",
        "-m",
        "engine.runtime.convert",
        str(gguf.resolve()),
        str(out.resolve()),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=_clean_environment(),
        cwd=paths.neutral_folder(),
        timeout=CONVERT_SECONDS,
    )
    if done.returncode == 0:
        return
    last = done.stdout.strip().rpartition("\n")[2]
    try:
        told = json.loads(last)
    except ValueError:
        told = None
    if isinstance(told, dict) and "message" in told:
        raise EngineError(
            told["message"], told.get("hint", ""), told.get("code", "APP-01"), file=told.get("file")
        )
    raise EngineError(
        f"{paths.show_name(gguf.name)} could not be converted (exit {done.returncode}).",
        "There may be too little memory; a model folder with safetensors needs no conversion.",
        "MODEL-02",
        file=str(gguf),
    )


def _clean_environment() -> dict[str, str]:
    """Nothing of the surroundings may change what the child imports, and it stays off the network."""
    dropped = ("PYTHON", "LD_PRELOAD", "PYTORCH_", "DYLD_INSERT")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return {**kept, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TUNESMITH_HOME": str(paths.home())}


def resolve_model(text: str, revision: str | None = None) -> Path:
    """Return the folder that a name stands for: `starter`, a folder, a .gguf file or a hub id that is here.

    Raises EngineError HUB-01 when a hub id is not here, MODEL-02 / DISK-03 when a path is no model.
    """
    if text == STARTER:
        return ensure_starter()
    path = Path(text).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        return _resolve_file(path)
    if _HUB_ID.fullmatch(text) and not path.is_absolute():
        return _in_hub_cache(text, revision)
    raise EngineError(
        f"There is no model at {paths.show_name(text, 200)}.",
        "Choose a folder, a .gguf file, or write starter.",
        "DISK-03",
        file=text,
    )


def _resolve_file(path: Path) -> Path:
    if path.suffix.lower() == ".gguf":
        return convert_once(path)
    if path.name in ("config.json", "model.safetensors"):
        return path.parent.resolve()
    raise EngineError(
        f"{paths.show_name(path.name)} is no model.",
        "Choose a model's folder or a .gguf file.",
        "MODEL-01" if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl") else "MODEL-02",
        file=str(path),
    )


def convert_once(gguf: Path) -> Path:
    """Return the plain folder made from a .gguf, kept in the cache under the file's size, time and head."""
    proof.proven(proof.file_question("gguf", gguf), file=str(gguf))
    status = gguf.stat()
    mark = _short_digest(f"{gguf.resolve()} {status.st_size} {status.st_mtime_ns}")
    out = paths.cache_dir() / "gguf" / f"{paths.slug(gguf.stem, 'model')}-{mark}"
    if not (out / "config.json").is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        convert_in_child(gguf, out)
    return out


def _short_digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:12]


def hub_cache() -> Path:
    """Return the Hugging Face cache, honouring its own variables."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"
    )
    return Path(home).expanduser() / "hub"


def _in_hub_cache(identity: str, revision: str | None) -> Path:
    repository = hub_cache() / f"models--{identity.replace('/', '--')}"
    wanted = revision or "main"
    if _REVISION.fullmatch(wanted):
        reference = repository / "refs" / wanted
        commit = reference.read_text().strip() if reference.is_file() else wanted
        if _REVISION.fullmatch(commit):
            folder = repository / "snapshots" / commit
            if (folder / "config.json").is_file():
                return folder
    raise EngineError(
        f"{identity} is not on this computer.",
        f"Download it first (`hf download {identity}`), or choose a model that is here.",
        "HUB-01",
        field="model.path",
    )


def list_models() -> list[ModelFacts]:
    """Return the models on this computer: home, exports, results of full finetuning, added, hub cache."""
    return look_over_models()[0]


def look_over_models() -> tuple[list[ModelFacts], list[Refused]]:
    """Return the models on this computer that can be trained, and the folders that cannot be used."""
    return _look_over(_model_folders(), _usable)


def _usable(folder: Path) -> ModelFacts:
    """Return the facts of a model that can be trained; a type that is not known can only be planned for."""
    facts = read_facts(folder)
    if not is_builtin(facts.model_type):
        named = paths.show_name(facts.model_type, 60) or "missing"
        raise own_code(f"model_type {named}", str(folder / "config.json"))
    return facts


def _look_over(folders: Iterable[Path], read: Callable[[Path], Facts]) -> tuple[list[Facts], list[Refused]]:
    usable: list[Facts] = []
    refused: list[Refused] = []
    for folder in folders:
        try:
            usable.append(read(folder))
        except EngineError as error:
            refused.append(Refused(folder_name(folder), folder, error))
        except OSError as error:
            refused.append(Refused(folder_name(folder), folder, from_os_error(error, str(folder))))
    return usable, refused


def _model_folders() -> Iterable[Path]:
    seen: set[Path] = set()
    candidates = [p.parent for p in sorted(paths.models_dir().glob("*/config.json"))]
    candidates.sort(key=lambda p: p.name != STARTER)
    candidates += [p.parent for p in sorted(paths.exports_dir().glob("*/config.json"))]
    results = [p.parent for p in paths.runs_dir().glob("*/model/config.json")]
    candidates += sorted(results, key=lambda p: p.stat().st_mtime, reverse=True)
    candidates += [Path(p) for p in _recorded("models")]
    candidates += [p.parent for p in sorted(hub_cache().glob("models--*/snapshots/*/config.json"))]
    for folder in candidates:
        real = folder.resolve()
        if real not in seen and (folder / "config.json").is_file():
            seen.add(real)
            yield folder


def list_adapters() -> list[AdapterFacts]:
    """Return the adapters on this computer: of runs (newest first), made from others, then added folders."""
    return look_over_adapters()[0]


def look_over_adapters() -> tuple[list[AdapterFacts], list[Refused]]:
    """Return the adapters on this computer that can be used, and the folders that cannot."""
    return _look_over(_adapter_folders(), read_adapter_facts)


def _adapter_folders() -> list[Path]:
    places = (*paths.runs_dir().glob(f"*/adapter/{CONFIG}"), *paths.runs_dir().glob(f"*/adapters/*/{CONFIG}"))
    folders = sorted(places, key=lambda p: p.stat().st_mtime, reverse=True)
    folders += sorted(paths.adapters_dir().glob(f"*/{CONFIG}"))
    added = [Path(name) for name in _recorded("adapters")]
    return [p.parent for p in folders] + [folder for folder in added if folder.is_dir()]


def add_model(path: Path | str) -> ModelFacts:
    """Remember a model folder (or .gguf) where it lies, or unpack an archive of one.

    Raises EngineError when it is none.
    """
    if archives.is_archive(Path(path)):
        return _unpacked(Path(path), paths.models_dir(), read_facts)
    folder = resolve_model(str(path))
    facts = read_facts(folder)
    _record("models", folder)
    return facts


def add_adapter(path: Path | str) -> AdapterFacts:
    """Remember an adapter folder where it lies, or unpack an archive of one, and return its facts.

    Raises EngineError when it is none.
    """
    folder = Path(path).expanduser()
    if archives.is_archive(folder):
        return _unpacked(folder, paths.adapters_dir(), _whole_adapter)
    if not folder.exists():
        raise EngineError(
            f"There is no folder {paths.show_name(str(path), 200)}.",
            "Choose an adapter's folder.",
            "DISK-03",
            file=str(path),
        )
    facts = _whole_adapter(folder)
    _record("adapters", folder.resolve())
    return facts


def _whole_adapter(folder: Path) -> AdapterFacts:
    """Return the facts of an adapter all of whose values are numbers."""
    facts = read_adapter_facts(folder)
    refuse_no_numbers(folder / WEIGHTS)
    return facts


def _unpacked(archive: Path, into: Path, read: Callable[[Path], Facts]) -> Facts:
    """Unpack an archive and return the facts of what was in it; what cannot be used is removed again."""
    folder = archives.unpack(archive, into)
    try:
        return read(folder)
    except EngineError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def is_recorded(kind: str, folder: Path) -> bool:
    """Return whether a `model` or `adapter` is remembered where it lies."""
    return any(Path(name) in (folder, folder.resolve()) for name in _recorded(f"{kind}s"))


def remember(kind: str, folder: Path) -> None:
    """Remember a `model` or `adapter` where it lies; raises EngineError DISK-*."""
    _record(f"{kind}s", folder)


def forget(kind: str, folder: Path) -> None:
    """Remember a `model` or `adapter` no more; its files stay. Raises EngineError DISK-*."""
    _write_records(
        f"{kind}s", [n for n in _recorded(f"{kind}s") if Path(n) not in (folder, folder.resolve())]
    )


def _record_file() -> Path:
    return paths.home() / "library.json"


def _recorded(kind: str) -> list[str]:
    if not _record_file().is_file():
        return []
    try:
        names = read_json(_record_file()).get(kind, [])
    except EngineError:  # a damaged list forgets the added folders, never the models themselves
        return []
    return [n for n in names if isinstance(n, str)] if isinstance(names, list) else []


def _record(kind: str, folder: Path) -> None:
    text = str(folder)
    _write_records(kind, [text, *(n for n in _recorded(kind) if n != text)])


def _write_records(kind: str, names: list[str]) -> None:
    known = {name: _recorded(name) for name in ("models", "adapters")} | {kind: names}
    try:
        paths.home().mkdir(parents=True, exist_ok=True)
        durable.write_json(_record_file(), known)
    except OSError as error:
        raise from_os_error(error, str(_record_file())) from error
