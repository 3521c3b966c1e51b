"""The hub's token: where a person keeps it. It is read here and given to the child that downloads or sends.

In this order: HF_TOKEN of this process, the keyring of the operating system (what Settings saved), the file
that `hf auth login` writes. We never write it into a file, a log, an argument or another environment.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from engine.errors import EngineError

SERVICE, ACCOUNT = "tunesmith", "huggingface.co"
MAX_BYTES = 4096
_OTHERWISE = "Set HF_TOKEN before the start, or sign in with `hf auth login`."


def find() -> str | None:
    """Return the token, None where there is none."""
    return _found()[1] or None


def place() -> str:
    """Return where the token comes from: environment, keyring, login, or an empty text without one."""
    return _found()[0]


def _found() -> tuple[str, str]:
    ways = (("environment", _of_environment), ("keyring", kept), ("login", _logged_in))
    for name, read in ways:
        if token := read():
            return name, token
    return "", ""


def _of_environment() -> str | None:
    return os.environ.get("HF_TOKEN", "").strip() or None


def has_keyring() -> bool:
    """Return whether the package that speaks to keyrings is installed (the extra `keyring`)."""
    return importlib.util.find_spec("keyring") is not None


def kept() -> str | None:
    """Return the token of the operating system's keyring, None without one or where it stays locked."""
    if not has_keyring():
        return None
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(SERVICE, ACCOUNT) or None
    except (KeyringError, RuntimeError, OSError):
        return None


def keep(token: str) -> None:
    """Put a token into the keyring, or take it out when it is empty.

    Raises EngineError HUB-03 when the text is no token, or the computer has no keyring.
    """
    token = token.strip()
    if token and (not token.isascii() or not token.isprintable() or " " in token or len(token) > MAX_BYTES):
        raise EngineError("This is no token of the hub.", "It begins with hf_ and has no blanks.", "HUB-03")
    if not has_keyring():
        raise EngineError("The package keyring is not installed.", _OTHERWISE, "HUB-03")
    import keyring
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        if token:
            keyring.set_password(SERVICE, ACCOUNT, token)
            return
        keyring.delete_password(SERVICE, ACCOUNT)
    except PasswordDeleteError:
        return  # there was none
    except (KeyringError, RuntimeError, OSError) as error:
        raise EngineError(
            "This computer has no keyring that could keep the token.", _OTHERWISE, "HUB-03"
        ) from error


def _logged_in() -> str | None:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    path = Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES).decode("ascii", "ignore").strip() or None
    except OSError:
        return None
