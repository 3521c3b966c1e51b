"""What every test stands on: an offscreen Qt, a home in a temporary folder, a tiny model made on the spot.

The environment is set while this file is imported, before Qt or a Hugging Face library can read it.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["HF_HUB_OFFLINE"] = "1"
HOME = tempfile.mkdtemp(prefix="tunesmith-test-home-")
os.environ["TUNESMITH_HOME"] = HOME
os.environ.setdefault("TUNESMITH_TESTS_SHARED", HOME)  # workers inherit it: one place for all of a run
os.environ["XDG_STATE_HOME"] = f"{HOME}/state"  # the locks of GPUs
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A process of tests holds millions of objects that stay; looking for cycles at every 700 new ones costs it a
# quarter of the time to collect its tests.
gc.set_threshold(50_000, 20, 20)

DATA = Path(__file__).parent / "data"


def pytest_unconfigure() -> None:
    """Take the temporary home away again; the starter model in it is large."""
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none: it is not of this machine, so it is not skipped."""
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing and not _gpu_is_here():
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def _gpu_is_here() -> bool:
    from engine.hardware.devices import probe

    return bool(probe().devices)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a plain transformers folder: a random two-layer Llama, a real BPE tokenizer, a ChatML template.

    It is built in a process of its own, so that the process of the tests (and Qt in it) never imports torch.
    """
    folder = tmp_path_factory.mktemp("models") / "tiny"
    made = subprocess.run(
        [sys.executable, str(DATA / "make_tiny_model.py"), str(folder)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return folder
