"""What every test stands on: an offscreen Qt, a home in a temporary folder, a tiny model made on the spot.

The environment is set while this file is imported, before Qt or a Hugging Face library can read it.
"""

from __future__ import annotations

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
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

DATA = Path(__file__).parent / "data"


def pytest_unconfigure() -> None:
    """Take the temporary home away again; the starter model in it is large."""
    shutil.rmtree(HOME, ignore_errors=True)


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
