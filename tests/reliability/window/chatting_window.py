"""A window of its own process in which somebody types a message and a question until the process is killed.

`python -m tests.reliability.window.chatting_window`; the home is that of the environment.
"""

from __future__ import annotations

import os

from PySide6.QtCore import QTimer
from PySide6.QtTest import QTest

MESSAGE, QUESTION = "Where is the parcel that", "Is this ticket urg"


def main() -> int:
    """Show both pages, type, and wait for the end."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from app.application import make_application
    from app.pages.chat import ChatPage
    from app.pages.merge_try import MergeTry
    from app.services import make_services
    from app.workers.mix_process import MixProcess

    app = make_application()
    services = make_services(app, "dark")
    page = ChatPage(services)
    trial = MergeTry(MixProcess(page), lambda: None)
    for each in (page, trial):
        each.resize(1100, 700)
        each.show()
    page.shown()
    trial.propose("What is asked here?")

    def type_both() -> None:
        if page._wanted is None:
            QTimer.singleShot(20, page, type_both)
            return
        QTest.keyClicks(page.message, MESSAGE)
        trial.prompt.clear()
        QTest.keyClicks(trial.prompt, QUESTION)

    type_both()
    return int(app.exec())


if __name__ == "__main__":
    raise SystemExit(main())
