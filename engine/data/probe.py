"""The probe child (`python -m engine.data.probe`): looks at what strangers made, within limits.

Standard input: a JSON list of questions. Standard output: a line for each, {"facts": ...} of a sound thing or
{"code", "message", "hint"} of a refused one. It may die on the way: an answer too (`engine.probes.proof`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.probes import limits

WORKBOOK_FILE_BYTES = 1 << 30  # the texts of a workbook lie in a file without a name
COLUMNS_BYTES = 4 << 30  # a batch of an Arrow file may be 2 GiB, and stands there packed and unpacked


def _tokenizer(question: dict[str, Any]) -> dict[str, Any]:
    from engine.data.probe_tokenizer import look

    return look(Path(question["path"]))


def _template(question: dict[str, Any]) -> dict[str, Any]:
    from engine.data.probe_template import look

    return look(question["source"], question["name"], question["tokens"])


def _gguf(question: dict[str, Any]) -> dict[str, Any]:
    from engine.models.gguf_header import read_gguf

    found = read_gguf(Path(question["path"]))
    return {"keys": len(found.values), "tensors": len(found.tensors)}


def _workbook(question: dict[str, Any]) -> dict[str, Any]:
    from engine.data.probe_workbook import look

    return look(Path(question["path"]))


def _columns(question: dict[str, Any]) -> dict[str, Any]:
    from engine.data.probe_columns import look

    return look(Path(question["path"]))


LOOKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "tokenizer": _tokenizer,
    "template": _template,
    "gguf": _gguf,
    "workbook": _workbook,
    "columns": _columns,
}


def _prepare(kinds: set[str]) -> None:
    """Import what the looks need while that is still free: the limits count from here."""
    if "tokenizer" in kinds:
        import engine.data.probe_tokenizer  # noqa: F401
    if "template" in kinds:
        import engine.data.probe_template  # noqa: F401
    if "workbook" in kinds:
        import engine.data.probe_workbook  # noqa: F401
    if "columns" in kinds:
        from engine.data.probe_columns import one_thread

        one_thread()
    if "gguf" in kinds:
        import engine.models.gguf_header  # noqa: F401


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"facts": LOOKS[question["kind"]](question)}
    except EngineError as error:
        return {"facts": {}, "code": error.code, "message": error.message, "hint": error.hint}


def main() -> int:
    """Answer every question of standard input in turn."""
    questions = json.loads(sys.stdin.buffer.read())
    answers = os.dup(1)
    # What a library writes unasked is no answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    kinds = {question["kind"] for question in questions}
    _prepare(kinds)
    memory = COLUMNS_BYTES if "columns" in kinds else limits.MEMORY_BYTES
    limits.confine(memory, file_bytes=WORKBOOK_FILE_BYTES if "workbook" in kinds else 0)
    for question in questions:
        os.write(answers, json.dumps(_answer(question)).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
