"""What keeps the hub's client from its work, in the catalogue's words."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.errors import EngineError, from_os_error

AGAIN = "Start the download again; the files that are complete are kept."


@contextmanager
def told(
    identity: str, what: str, stopped: Callable[[], BaseException | None] = lambda: None
) -> Iterator[None]:
    """Say in the catalogue's words what keeps the hub's client from its work.

    `stopped` returns the error by which the listener itself ended it; that one goes on as it is.
    """
    from huggingface_hub import errors

    try:
        yield
    except EngineError:
        raise
    except errors.GatedRepoError:
        hint = "Accept its terms on its page, then sign in with a token."
        raise EngineError(f"{identity} needs permission.", hint, "HUB-03") from None
    except errors.RevisionNotFoundError:
        raise EngineError(f"{identity} has no such revision.", "Check its name.", "HUB-03") from None
    except errors.RepositoryNotFoundError:
        hint = "Check its name; a private one needs a token."
        raise EngineError(f"There is no {what} {identity} on the hub.", hint, "HUB-03") from None
    except errors.HfHubHTTPError as error:
        raise _answered(identity, error) from None
    except (errors.LocalEntryNotFoundError, errors.FileMetadataError) as error:
        if "header" in str(error) or isinstance(error, errors.FileMetadataError):
            raise no_hub("what answered is not the hub") from None
        raise _unreachable(error.__cause__ or error) from None
    except (errors.HTTPError, OSError, ValueError, KeyError, TypeError) as error:  # type: ignore[attr-defined]
        if error is stopped():
            raise
        raise _failed(error) from None


def _answered(identity: str, error: Any) -> EngineError:
    status = error.response.status_code
    if status in (401, 403):
        hint = "Accept its terms on its page, then sign in with a token."
        return EngineError(f"{identity} needs permission.", hint, "HUB-03")
    if status in (407, 511):
        return no_hub("a proxy asks to sign in")
    what = "is busy" if status == 429 or status >= 500 else "refused the request"
    return EngineError(f"The hub {what} (status {status}).", "Try again in some minutes.", "HUB-01")


def _failed(error: Exception) -> EngineError:
    if isinstance(error, OSError) and error.errno in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    ):
        return from_os_error(error, str(error.filename or "the downloads"))
    if "Consistency check failed" in str(error):
        sizes = re.search(r"size (\d+) but has size (\d+)", str(error))
        return cut("A file", f"{int(sizes[2]):,} of {int(sizes[1]):,} bytes" if sizes else "a part of it")
    if isinstance(error, ValueError | KeyError | TypeError):
        return no_hub("its answer cannot be read")
    return _unreachable(error)


def cut(name: str, have: str, file: str | None = None) -> EngineError:
    return EngineError(f"{name} is not complete: {have} came.", AGAIN, "HUB-02", file=file)


def _unreachable(error: BaseException) -> EngineError:
    hint = "Check the connection; files already here still work."
    return EngineError(f"The hub cannot be reached: {why_away(error)}.", hint, "HUB-01")


# What the name of an error says of a connection, of this error or of one that it came from.
_WHYS = (
    (r"gaierror|NameResolution", "its name is not found, so this computer may be offline"),
    (r"Refused", "the connection was refused"),
    (r"Timeout|TimedOut", "no answer came in time"),
    (r"SSL|Certificate|TLS", "its certificate is not trusted here"),
    (r"Proxy", "the proxy does not let it through"),
    (r"OfflineMode|LocalEntryNotFound", "downloads are switched off"),
)


def why_away(error: BaseException | None) -> str:
    """Return in words why nothing answered, told by the names of an error and of those it came from."""
    names: list[str] = []
    while error is not None and len(names) < 8:
        names.append(type(error).__name__)
        error = error.__cause__ or error.__context__
    said = (words for name in reversed(names) for known, words in _WHYS if re.search(known, name))
    return next(said, "the connection does not hold")


def no_hub(why: str) -> EngineError:
    hint = "A proxy or a sign-in page of the network may answer in its place; open a web page to see."
    return EngineError(f"The hub cannot be reached: {why}.", hint, "HUB-01")
