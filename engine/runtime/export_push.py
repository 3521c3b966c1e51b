"""Send an exported folder to the hub, once a person has seen what would be sent.

The sending is a child of its own: `python -I -X utf8 -m engine.runtime.export_push FOLDER OWNER/NAME`. It
reads the token from its standard input; the last line it prints is the answer, or the error, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine import hub_token, paths
from engine.errors import EngineError
from engine.hub import HUB, looks_like_id
from engine.hub_words import why_away
from engine.jobs import fetch
from engine.models.made import read_origin
from engine.runtime.export_card import CARD

CARD_SHOWN = 4000
SECONDS = 24 * 3600.0


def what_is_sent(folder: Path, repository: str) -> dict[str, Any]:
    """Return {"repository", "files": [{"name", "bytes"}], "bytes", "card"} of a folder that export made.

    Raises EngineError HUB-01 for a name that is no name/name, MODEL-02 for a folder that was not made here.
    """
    if not looks_like_id(repository):
        raise EngineError(
            f"{paths.show_name(repository)!r} is no name on the hub.",
            "It looks like owner/name.",
            "HUB-01",
            field="push",
        )
    read_origin(folder)
    files = [{"name": p.name, "bytes": p.stat().st_size} for p in sorted(folder.iterdir()) if p.is_file()]
    card = (folder / CARD).read_text("utf-8", "replace") if (folder / CARD).is_file() else ""
    return {
        "repository": repository,
        "files": files,
        "bytes": sum(int(str(each["bytes"])) for each in files),
        "card": card[:CARD_SHOWN],
    }


def push_in_child(folder: Path, repository: str, private: bool) -> dict[str, Any]:
    """Send a folder; raises EngineError HUB-01 / HUB-03 when the hub cannot be reached or refuses."""
    endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    if endpoint != HUB:
        raise EngineError(
            "HF_ENDPOINT names a mirror; a token is sent to the hub itself only.",
            "Unset HF_ENDPOINT to send to the hub.",
            "HUB-01",
        )
    what_is_sent(folder, repository)
    command = [sys.executable, "-I", "-X", "utf8", "-m", "engine.runtime.export_push"]
    command += [str(folder.resolve()), repository, *(["--private"] if private else [])]
    done = subprocess.run(
        command,
        input=(hub_token.find() or "") + "\n",
        capture_output=True,
        text=True,
        errors="replace",
        env={**fetch.environment(), "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"},
        cwd=paths.neutral_folder(),
        timeout=SECONDS,
    )
    last = done.stdout.strip().rpartition("\n")[2]
    try:
        answer = json.loads(last)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and "message" in answer:
        raise EngineError(answer["message"], answer.get("hint", ""), answer.get("code", "HUB-01"))
    if done.returncode != 0 or not isinstance(answer, dict):
        raise EngineError(
            f"The sending ended with {done.returncode}.",
            "Try again; what is complete is not sent twice.",
            "HUB-01",
        )
    return answer


def push_folder(folder: Path, repository: str, private: bool, api: Any) -> dict[str, Any]:
    """Make the repository where it is missing and send the folder's files; `api` is a hub client's HfApi."""
    names = [p.name for p in sorted(folder.iterdir()) if p.is_file()]
    api.create_repo(repo_id=repository, private=private, exist_ok=True, repo_type="model")
    commit = api.upload_folder(
        repo_id=repository,
        folder_path=str(folder),
        repo_type="model",
        allow_patterns=names,
        commit_message="Upload by Tunesmith",
    )
    return {
        "pushed": True,
        "repository": repository,
        "files": names,
        "url": str(getattr(commit, "commit_url", "")),
    }


def main(arguments: list[str] | None = None) -> int:
    """Send FOLDER to OWNER/NAME; answers with the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    folder, repository, private = Path(words[0]), words[1], "--private" in words
    token = sys.stdin.readline().strip() or None
    try:
        answer = _send(folder, repository, private, token)
    except EngineError as error:
        print(json.dumps(error.as_dict()), flush=True)
        return 1
    print(json.dumps(answer), flush=True)
    return 0


def _send(folder: Path, repository: str, private: bool, token: str | None) -> dict[str, Any]:
    from huggingface_hub import HfApi, errors

    try:
        return push_folder(folder, repository, private, HfApi(endpoint=HUB, token=token or False))
    except (errors.LocalTokenNotFoundError, errors.RepositoryNotFoundError, errors.GatedRepoError):
        raise _refused(repository) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise _refused(repository) from None
        raise EngineError(
            f"The hub answered with status {status}.", "Try again in some minutes.", "HUB-01"
        ) from None
    except (errors.HTTPError, OSError, ValueError) as error:  # type: ignore[attr-defined]
        raise EngineError(
            f"The hub cannot be reached: {why_away(error)}.", "Check the connection.", "HUB-01"
        ) from None


def _refused(repository: str) -> EngineError:
    return EngineError(
        f"The hub does not let you write to {repository}.",
        "Sign in with a token that may write (HF_TOKEN, or `hf auth login`).",
        "HUB-03",
    )


if __name__ == "__main__":
    raise SystemExit(main())
