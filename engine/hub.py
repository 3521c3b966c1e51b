"""Models of the hub: found in its local cache, downloaded only when a person asked for it."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import EngineError

IDENTITY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
PATTERNS = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt"]


def looks_like_id(text: str) -> bool:
    """Return whether `text` has the form name/name."""
    return IDENTITY.fullmatch(text) is not None


def download_model(identity: str, revision: str | None = None) -> Path:
    """Bring a model's plain files (no code, no pickles) to the hub's cache and return its folder.

    Raises EngineError HUB-01 without a network, HUB-03 for a gated model.
    """
    if not looks_like_id(identity):
        raise EngineError(f"{identity!r} is no hub id.", "A hub id looks like name/name.", "HUB-01")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(identity, revision=revision, allow_patterns=PATTERNS))
    except GatedRepoError as error:
        raise EngineError(
            f"{identity} needs permission.",
            "Accept its terms on its page, then sign in with a token.",
            "HUB-03",
        ) from error
    except RepositoryNotFoundError as error:
        raise EngineError(f"There is no model {identity} on the hub.", "Check its name.", "HUB-03") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise EngineError(
            f"The hub cannot be reached ({type(error).__name__}).",
            "Check the connection; models on disk still work.",
            "HUB-01",
        ) from error


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
