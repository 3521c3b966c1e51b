"""A window of its own process in which somebody types into the wizard until the process is killed.

`python -m tests.reliability.window.typing_window`; the home is that of the environment. What is typed: a
learning rate that can be used, and a rank that cannot.
"""

from __future__ import annotations

import os

from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest

RATE, RANK = "7e-5", "12x"


def main() -> int:
    """Show the wizard, type, and wait for the end."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from app.application import make_application
    from app.pages.wizard.wizard import WizardPage
    from app.services import make_services
    from engine.hardware.devices import probe

    app = make_application()
    services = make_services(app, "dark")
    services.hardware.machine = probe()
    page = WizardPage(services)
    page.resize(1240, 844)
    page.show()
    page.go_to("training")
    type_into(page.steps["training"].rows["training.learning_rate"].editor.line, RATE)
    page.go_to("method")
    type_into(page.steps["method"].rows["adapter.r"].editor.line, RANK)
    print("typed", flush=True)
    alive = QTimer(page, interval=100)
    alive.timeout.connect(lambda: None)
    alive.start()
    return int(app.exec())


def type_into(line: object, text: str) -> None:
    """Replace what stands in a field, key by key."""
    QTest.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(line, text)


if __name__ == "__main__":
    raise SystemExit(main())
