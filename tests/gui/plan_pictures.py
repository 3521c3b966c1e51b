"""Draw the steps of a plan that fits, is tight and does not fit: `python -m tests.gui.plan_pictures FOLDER`.

Method, training and review in both themes and at both sizes the design names, one window after the other.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.pages.wizard.wizard import WizardPage
from app.window import MainWindow
from engine.models.facts import read_facts
from tests.gui.plan_place import machine_with, seven_billion

THEMES = ("dark", "light")
SIZES = ((1440, 900), (1100, 700))
STEPS = ("method", "training", "review")
LORA = {
    "model.load_in_4bit": False,
    "adapter.r": 16,
    "adapter.lora_alpha": 32,
    "training.per_device_train_batch_size": 1,
    "data.max_length": 1024,
}
QLORA = {**LORA, "model.load_in_4bit": True}
LARGE = {**QLORA, "adapter.r": 256, "adapter.lora_alpha": 512, "data.max_length": 2048}
# The memory of the device in GB, and the recipe; tight is a device of which the plan takes so large a share.
CASES: dict[str, tuple[float, dict[str, Any]]] = {
    "fits": (24, QLORA),
    "tight": (0, LORA),
    "too-large": (16, {**LARGE, "training.per_device_train_batch_size": 2}),
}
TIGHT_SHARE = 0.96


def write_tickets(file: Path) -> Path:
    """Write four hundred tickets, some of them long."""
    lines = (
        {"prompt": f"Where is parcel {n}?", "completion": f"word {n} " * (3 + n * 7 % 190)}
        for n in range(400)
    )
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return file


def write_hollow_weights(model: Path) -> None:
    """Write the weights of a configuration as a file of holes, which takes no room on the disk."""
    entries, end = {}, 0
    for name, shape in read_facts(model, weights=False).tensors:
        begin, end = end, end + 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    head = json.dumps(entries).encode()
    with open(model / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + end)


def pictures(
    app: Any, folder: Path, model: Path, data: Path, only: list[str], sizes: Sequence[tuple[int, int]] = SIZES
) -> Iterator[Path]:
    """Draw all pictures whose name holds one of `only`, and say where each was written."""
    from app import drafts, screenshot
    from app.services import make_services
    from app.theme.style import load_fonts
    from engine.hardware import monitor

    load_fonts()

    for theme in THEMES:
        services = make_services(app, theme)
        services.hardware.latest = monitor.sample()
        for case, (gigabytes, values) in CASES.items():
            wanted = [
                (step, size, file)
                for step in STEPS
                for size in sizes
                if _is_wanted(file := folder / f"{step}-{case}-{theme}-{size[0]}x{size[1]}.png", only)
            ]
            if not wanted:
                continue
            services.hardware.machine = machine_with(gigabytes or 96)
            drafts.delete_draft()
            window = MainWindow(services)
            services.hardware.probed.emit(services.hardware.machine)
            services.hardware.sampled.emit(services.hardware.latest)
            page = open_wizard(app, window, {"model.path": str(model), "data.train": [str(data)], **values})
            if not gigabytes:
                needed = page.state.plans.now.memory_bytes
                services.hardware.machine = machine_with(needed / TIGHT_SHARE / 1e9)
                page.state.plan_again()
                settle(app, page)
            for step, size, file in wanted:
                window.resize(*size)
                page.go_to(step)
                settle(app, page)
                screenshot.save(window, file)
                yield file
            page.state.blockSignals(True)
            window.close()
            window.deleteLater()


def _is_wanted(file: Path, only: list[str]) -> bool:
    return not only or any(word in file.name for word in only)


def open_wizard(app: Any, window: MainWindow, values: dict[str, Any]) -> WizardPage:
    """Show the wizard in a window with these values, calm."""
    window.navigate("wizard", None)
    page = window.page
    assert isinstance(page, WizardPage)
    window.resize(*SIZES[0])
    window.show()
    page.state.set_values(values)
    settle(app, page)
    return page


def settle(app: Any, page: WizardPage, longest: float = 90.0, calm: int = 40) -> None:
    """Turn the event loop until nothing has been looked at for some turns, so that all is laid out."""
    end, turns = time.monotonic() + longest, 0
    while time.monotonic() < end and turns < calm:
        app.processEvents()
        time.sleep(0.01)
        waiting = any(timer.isActive() for timer in page.state._timers.values())
        turns = 0 if waiting or page.services.background.busy or not page.settled() else turns + 1


def main() -> int:
    """Read the words of the command line and draw."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("folder", type=Path, help="where the pictures are written")
    reader.add_argument("only", nargs="*", help="draw those whose name holds one of these words")
    reader.add_argument("--size", help="draw at this size only, such as 1440x1600")
    options = reader.parse_args()
    sizes = [tuple(map(int, options.size.split("x")))] if options.size else SIZES
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        os.environ.update(TUNESMITH_HOME=str(here / "home"), HF_HUB_CACHE=str(here / "hub"))
        (here / "home").mkdir()
        maker = Path(__file__).parents[1] / "data" / "make_tiny_model.py"
        subprocess.run([sys.executable, str(maker), str(here / "tiny")], check=True, capture_output=True)
        model = seven_billion(here / "Llama-2-7B", here / "tiny")
        write_hollow_weights(model)
        from app import application

        app = application.make_application()
        data = write_tickets(here / "tickets.jsonl")
        for file in pictures(app, options.folder, model, data, options.only, sizes):
            print(file, flush=True)
        os._exit(0)  # threads that read this machine need not be waited for


if __name__ == "__main__":
    main()
