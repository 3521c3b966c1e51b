"""One page as a picture: wait until it has settled, draw it, write the PNG."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QEventLoop

DEFAULT_SIZE = (1440, 900)
LONGEST_SECONDS, CALM_SECONDS = 30.0, 0.5
CALM_TURNS = 8  # of the event loop, so that what came last is laid out on a slow machine too


def save_page(app: QCoreApplication, window: Any, options: argparse.Namespace) -> int:
    """Draw the page that is in front into `options.screenshot` and return the exit code."""
    from app.application import finish

    window.resize(*(options.size or DEFAULT_SIZE))
    window.show()
    wait_until_settled(app, window)
    saved = save(window, options.screenshot)
    finish(window)
    if not saved:
        print(f"{options.screenshot} could not be written.", file=sys.stderr)
    return 0 if saved else 1


def wait_until_settled(app: QCoreApplication, window: Any, longest: float = LONGEST_SECONDS) -> bool:
    """Turn the event loop until the page and the background are calm; return False when time ran out."""
    end = time.monotonic() + longest
    calm_since, calm_turns = time.monotonic(), 0
    while time.monotonic() < end:
        app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        time.sleep(0.01)
        services = window.services
        busy = services.background.busy or services.hardware.latest is None
        page = window.page
        if busy or (page is not None and not page.settled()):
            calm_since, calm_turns = time.monotonic(), 0
            continue
        calm_turns += 1
        if calm_turns >= CALM_TURNS and time.monotonic() - calm_since > CALM_SECONDS:
            return True
    return False


def save(window: Any, file: Path) -> bool:
    """Write what the window shows as a PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return bool(window.grab().save(str(file), "PNG"))
