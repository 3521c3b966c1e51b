"""Models and data sets of the hub: found on disk, downloaded only when a person asked for it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.hub_words import cut, no_hub, told

IDENTITY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*")
COMMIT = re.compile(r"[0-9a-f]{7,64}")
PATTERNS = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt"]
# Data only: no scripts, no pickles, nothing that runs when it is opened.
DATA_SUFFIXES = frozenset(
    (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab", ".parquet", ".arrow", ".feather", ".xlsx")
    + (".yaml", ".yml", ".txt", ".md", ".markdown", ".rst")
)
PACKED_SUFFIXES = frozenset((".gz", ".zst", ".zip"))
MARK = ".complete.json"
HUB = "https://huggingface.co"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class HubFile:
    """A data file of a data set on the hub: its path there and its size in bytes."""

    name: str
    bytes: int
    sha256: str | None = None


def looks_like_id(text: str) -> bool:
    """Return whether `text` has the form name/name."""
    return IDENTITY.fullmatch(text) is not None


def dataset_name(text: str) -> tuple[str, str | None] | None:
    """Return (id, revision) of what a person writes: name/name, name/name@revision, or its page's address.

    None for anything else; a revision that is not written is None.
    """
    text = text.strip()
    page = re.fullmatch(r"(?:https://(?:huggingface\.co|hf\.co)/)?datasets/([^?#]+?)/?(?:[?#].*)?", text)
    if page is None:
        identity, _, revision = text.partition("@")
    else:
        steps = str(page[1]).split("/")
        identity = "/".join(steps[:2])
        revision = steps[3] if len(steps) > 3 and steps[2] in ("tree", "blob") else ""
    return (identity, revision or None) if looks_like_id(identity) else None


def download_model(
    identity: str,
    revision: str | None = None,
    progress: Progress | None = None,
    *,
    token: str | None = None,
) -> Path:
    """Bring a model's plain files (no code, no pickles) to the hub's cache and return its folder.

    `progress` hears (bytes that are here, bytes in all); files that came whole before are not fetched again.
    Raises EngineError HUB-01 without a network, HUB-02 for a file that came cut or with other contents,
    HUB-03 for a gated model, DISK-01 without room for all.
    """
    _check(identity, revision)
    _online(identity)
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    sent: dict[str, Any] = {"endpoint": _endpoint(), "token": _sent(token)}
    with told(identity, "model"):
        facts = HfApi(**sent).model_info(identity, revision=revision, files_metadata=True)
    wanted = [f for f in facts.siblings or [] if any(fnmatch(f.rfilename, each) for each in PATTERNS)]
    if not wanted:
        hint = "Look for one in the format safetensors."
        raise EngineError(f"{identity} has no files that can be read.", hint, "MODEL-02")
    count = _Count(sum(int(file.size or 0) for file in wanted), progress)
    missing = [f for f in wanted if not try_to_load_from_cache(identity, f.rfilename, revision=facts.sha)]
    _room_for(Path(HF_HUB_CACHE), Path(HF_HUB_CACHE), sum(int(file.size or 0) for file in missing))
    for file in wanted:
        with told(identity, "model", count.why_stopped):
            name, bar = file.rfilename, count.bar()
            path = hf_hub_download(identity, name, revision=facts.sha, tqdm_class=bar, **sent)
            count.heed()
        _compare(Path(path), file)
        count.before += int(file.size or 0)
        count.tell(0)
    # All is here; this notes which commit the name stands for, so that it is found without a network.
    with told(identity, "model"):
        return Path(snapshot_download(identity, revision=revision, allow_patterns=PATTERNS, **sent))


def _compare(path: Path, file: Any) -> None:
    """Take a file that is not what the hub says of it away again."""
    size, blob = path.stat().st_size, path.resolve()
    digest = file.lfs.sha256 if file.lfs else None
    if size != file.size or digest not in (None, durable.sha256_file(path)):
        blob.unlink()
        raise cut(paths.show_name(path.name), f"{size:,} of {int(file.size or 0):,} bytes", str(path))


def cached_model(identity: str, revision: str | None = None) -> Path:
    """Return a hub model that is on disk already; raises EngineError HUB-01 when it is not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(identity, revision=revision, local_files_only=True, allow_patterns=PATTERNS)
        )
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        raise EngineError(
            f"{identity} is not on disk.", f"Download it once: `tunesmith models get {identity}`.", "HUB-01"
        ) from error


def dataset_files(identity: str, revision: str | None = None, *, token: str | None = None) -> list[HubFile]:
    """Ask the hub which data files a data set has, and how large they are; nothing is downloaded.

    Raises EngineError HUB-01 without a network, HUB-03 without permission, DATA-12 without such files.
    """
    return _listed(identity, revision, token)[1]


def _listed(identity: str, revision: str | None, token: str | None) -> tuple[str, list[HubFile]]:
    """Return the commit that a revision stands for now, and the data files of it."""
    _check(identity, revision)
    _online(identity)
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with told(identity, "data set"):
        hub = HfApi(endpoint=_endpoint(), token=_sent(token))
        commit = str(hub.dataset_info(identity, revision=revision).sha)
        tree = hub.list_repo_tree(identity, recursive=True, revision=commit, repo_type="dataset")
        files = [item for item in tree if isinstance(item, RepoFile)]
    if COMMIT.fullmatch(commit) is None:
        raise no_hub("its answer names no commit")
    found = [
        HubFile(file.path, int(file.size), file.lfs.sha256 if file.lfs else None)
        for file in files
        if _is_data(file.path)
    ]
    if all(file.name.lower() == "readme.md" for file in found):
        raise EngineError(
            f"{identity} holds no files that can be read as data ({len(files):,} other files).",
            f"The hub often keeps a Parquet copy: try {identity}@refs/convert/parquet.",
            "DATA-12",
        )
    return commit, sorted(found, key=lambda file: file.name)


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or "\\" in name or ":" in name or any(p.startswith(".") for p in path.parts):
        return False
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if not suffixes or suffixes[-1] not in PACKED_SUFFIXES:
        return bool(suffixes) and suffixes[-1] in DATA_SUFFIXES
    return len(suffixes) == 1 and suffixes[0] == ".zip" or suffixes[0] in DATA_SUFFIXES


def download_dataset(
    identity: str,
    revision: str | None = None,
    files: Sequence[str] | None = None,
    progress: Progress | None = None,
    *,
    token: str | None = None,
) -> Path:
    """Bring the data files of a data set (or some of them) to disk and return their folder.

    `progress` hears (bytes that are here, bytes in all); what it raises stops the download, and files that
    are complete stay. Raises EngineError as `dataset_files`, HUB-02 for a file that came cut, DISK-01 without
    room for all.
    """
    commit, listed = _listed(identity, revision, token)
    wanted = [file for file in listed if files is None or file.name in files]
    missing = sorted(set(files or ()) - {file.name for file in wanted})
    if missing:
        what = f"{identity} has no data file {paths.show_name(missing[0])}."
        raise EngineError(what, "Look at its page on the hub for the names of its files.", "HUB-03")
    folder = paths.datasets_dir() / f"{identity.replace('/', '--')}@{commit[:12]}"
    count = _Count(sum(file.bytes for file in wanted), progress)
    missing_bytes = sum(file.bytes for file in wanted if not (folder / file.name).is_file())
    _room_for(paths.datasets_dir(), folder, missing_bytes)
    for file in wanted:
        _fetch(identity, commit, file, folder, count, token)
    here = {**_mark(folder).get("files", {}), **{file.name: file.bytes for file in wanted}}
    mark = {"id": identity, "revision": revision or "main", "commit": commit, "files": here}
    try:
        durable.write_json(folder / MARK, mark)
    except OSError as error:
        raise from_os_error(error, str(folder)) from None
    return folder


class _Count:
    """How many bytes of all files are here; the bars of the hub's client add to it."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self.before = 0
        self.stopped: BaseException | None = None
        self._progress = progress
        self.tell(0)

    def heed(self) -> None:
        """Raise what the listener raised: the client lets go of it on the way."""
        if self.stopped is not None:
            raise self.stopped

    def why_stopped(self) -> BaseException | None:
        """Return what the listener raised, None while it listens."""
        return self.stopped

    def tell(self, of_file: int) -> None:
        """Tell how many bytes of the present file are here; an error of the listener is kept and raised."""
        if self._progress is None:
            return
        try:
            self._progress(min(self.before + of_file, self.total), self.total)
        except BaseException as error:
            self.stopped = error
            raise

    def bar(self) -> type[Any]:
        """Return a class that the hub's client takes for its progress bar."""
        count = self

        class Bar:
            """Counts the bytes of one file."""

            def __init__(self, *_: Any, initial: int = 0, **__: Any) -> None:
                self.n = initial

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_: object) -> None:
                self.close()

            def update(self, n: float | None = 1) -> None:
                self.n += int(n or 0)
                count.tell(self.n)

            def update_transfer(self, n: float | None = 1) -> None:
                """Take no notice of packed bytes."""

            def set_description(self, *_: object, **__: object) -> None:
                """Take no notice of words."""

            def refresh(self) -> None:
                """Draw nothing."""

            def close(self) -> None:
                """Let go of nothing."""

        return Bar


def _fetch(identity: str, commit: str, file: HubFile, folder: Path, count: _Count, token: str | None) -> None:
    from huggingface_hub import hf_hub_download

    target = folder / file.name
    with told(identity, "data set", count.why_stopped):
        hf_hub_download(
            identity,
            file.name,
            repo_type="dataset",
            revision=commit,
            local_dir=folder,
            endpoint=_endpoint(),
            token=_sent(token),
            tqdm_class=count.bar(),
        )
        count.heed()
        size = target.stat().st_size
        wrong = size != file.bytes or file.sha256 not in (None, durable.sha256_file(target))
    if wrong:
        target.unlink()
        raise cut(paths.show_name(file.name), f"{size:,} of {file.bytes:,} bytes", str(target))
    count.before += file.bytes
    count.tell(0)


def _room_for(place: Path, folder: Path, needed: int) -> None:
    """Refuse a download that does not fit; `place` may not be there yet."""
    there = next(p for p in (place, *place.parents) if p.is_dir())
    free = durable.disk.free(there)
    if needed > free:
        raise EngineError(
            f"{needed / 1e6:,.0f} MB are needed in {place}, {free / 1e6:,.0f} MB are free.",
            "Free some space, or choose less.",
            "DISK-01",
            file=str(folder),
        )


def cached_dataset(identity: str, revision: str | None = None) -> Path | None:
    """Return the folder of a data set that was downloaded whole (the newest if several), None without it."""
    found = []
    if looks_like_id(identity):
        for folder in paths.datasets_dir().glob(f"{identity.replace('/', '--')}@*"):
            mark = _mark(folder)
            commit = str(mark.get("commit", ""))
            meant = mark.get("revision") == (revision or "main") or bool(
                revision and COMMIT.fullmatch(revision) and commit.startswith(revision)
            )
            if mark.get("id") == identity and meant and is_complete(folder):
                found.append(((folder / MARK).stat().st_mtime_ns, folder))
    return max(found)[1] if found else None


def is_complete(folder: Path) -> bool:
    """Say whether every file that a download brought to this folder is there in its size."""
    files = _mark(folder).get("files")
    if not isinstance(files, dict) or not files:
        return False
    try:
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except OSError:
        return False


def _mark(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def _sent(token: str | None) -> str | bool:
    """Return the token that is sent along, to the hub itself only: a mirror gets none."""
    return token if token and _endpoint() == HUB else False


def _check(identity: str, revision: str | None) -> None:
    if not looks_like_id(identity):
        raise EngineError(
            f"{paths.show_name(identity)!r} is no hub id.", "A hub id looks like name/name.", "HUB-01"
        )
    if revision is not None and (REVISION.fullmatch(revision) is None or len(revision) > 200):
        what = f"{paths.show_name(revision)!r} is no revision."
        raise EngineError(what, "A revision is a branch, a tag or a commit.", "HUB-01")


def _online(identity: str) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            what = f"The hub is not asked for {identity}: {name} is set."
            raise EngineError(what, f"Unset {name} to allow downloads; files already here work.", "HUB-01")
