"""Where data lies: the data sets in the application's own folder, and what a name in a recipe stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from engine import hub, paths
from engine.data import folder_files
from engine.errors import EngineError, from_os_error

HUB_PREFIX = "hub:"


@dataclass(frozen=True)
class DataSet:
    """A file or folder in the application's folder of data sets; `kind` is what its names say it holds.

    A download that has not come to its end is not complete.
    """

    name: str
    path: Path
    kind: str
    bytes: int
    complete: bool = True


def resolve_data(text: str | Path) -> Path:
    """Return the file or folder that a recipe's data names: a path, or a data set of the hub that is on disk.

    Nothing is downloaded: raises EngineError HUB-01 for a data set that is not here.
    """
    if not str(text).startswith(HUB_PREFIX):
        return Path(text).expanduser()
    name = str(text)[len(HUB_PREFIX) :]
    named, shown = hub.dataset_name(name), paths.show_name(name)
    if named is None:
        raise EngineError(
            f'"{shown}" is no id of a data set.', "Write hub:owner/name.", "HUB-01", field="data.train"
        )
    folder = hub.cached_dataset(*named)
    if folder is None:
        raise EngineError(
            f"The data set {shown} is not on disk.",
            f"Download it once: `tunesmith data get {shown}`.",
            "HUB-01",
            field="data.train",
        )
    return folder


def list_datasets() -> list[DataSet]:
    """Return what lies in the application's folder of data sets, by name; what cannot be read is left out."""
    folder = paths.datasets_dir()
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name.lower())
    except OSError as error:
        raise from_os_error(error, str(folder)) from None
    found = []
    for path in entries:
        if not path.name.startswith("."):
            try:
                found.append(_described(path))
            except (EngineError, OSError):
                continue
    return found


def _described(path: Path) -> DataSet:
    name = paths.show_name(path.name)
    if path.is_file():
        kind = folder_files.kind_of(PurePath(path.name)) or path.suffix.lstrip(".").upper()
        return DataSet(name, path, kind, path.stat().st_size)
    held = folder_files.contents(path)
    usable = folder_files.usable(held.files)
    kinds = sorted({kind for _, kind in usable})
    size = sum((path / file).stat().st_size for file in held.files)
    complete = hub.is_complete(path) if _from_the_hub(path) else True
    return DataSet(name, path, ", ".join(kinds) or "no data", size, complete)


def _from_the_hub(folder: Path) -> bool:
    return (folder / hub.MARK).is_file() or (folder / ".cache" / "huggingface").is_dir()
