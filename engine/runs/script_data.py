"""The part of a run's script that makes its rows: read, rendered and cut, or as the run kept them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.data.dataset import Prepared
from engine.data.examples import locate
from engine.runs import script_parts as parts
from engine.runs.script_facts import RunFacts
from engine.runs.script_text import assign

_READERS = {".jsonl": parts.READ_JSONL, ".ndjson": parts.READ_JSONL, ".json": parts.READ_JSON}
_TABLES = {".csv": ",", ".tsv": "\t"}
# The columns that each form of the script knows; a mapping with others is not read again.
_FORMS: dict[str, tuple[str, frozenset[str]]] = {
    "messages": (parts.MESSAGES, frozenset({"messages", "system"})),
    "sharegpt": (parts.SHAREGPT, frozenset({"conversations", "system"})),
    "alpaca": (parts.ALPACA, frozenset({"instruction", "input", "output", "system"})),
    "prompt_completion": (
        parts.PROMPT_COMPLETION,
        frozenset({"prompt", "completion", "context", "system"}),
    ),
    "text": (parts.RAW_TEXT, frozenset({"text"})),
}


@dataclass(frozen=True)
class DataPart:
    """`constants` stand at the head of the script, `code` below them; `why` says why the rows are kept."""

    constants: list[str]
    code: list[str]
    imports: set[str] = field(default_factory=set)
    why: str = ""
    tokenises: bool = True
    chat: bool = False


def rows_read(run: RunFacts) -> DataPart | str:
    """Return the part that reads the run's files again, or why a short one cannot."""
    data = run.recipe.data
    why = _unusual(run)
    if why:
        return why
    mapping = run.rows.mappings[0]
    form, known = _FORMS[mapping.format]
    suffix = Path(run.files[0]).suffix.lower()
    raw = mapping.format == "text"
    if not set(mapping.columns) <= known or mapping.label_names or (raw and "text" not in mapping.columns):
        return "its columns hold more than the usual ones"
    constants = [assign("TRAIN_FILES", run.files)]
    if data.validation:
        constants.append(assign("VALIDATION_FILES", [str(locate(data.validation, run.folder))]))
    elif _splits(run):
        constants.append(assign("VALIDATION_SPLIT", data.validation_split))
        split_seed = run.recipe.training.seed if data.split_seed is None else data.split_seed
        constants.append(assign("SPLIT_SEED", split_seed))
    if suffix in _TABLES:
        constants.append(assign("DELIMITER", data.delimiter or _TABLES[suffix]))
    constants.append(assign("COLUMNS", dict(mapping.columns)))
    if raw:
        end = run.tokenizer.eos_id
        constants += [
            assign("START_IDS", list(run.tokenizer.start_ids)),
            assign("END_IDS", [] if end is None else [end]),
        ]
    else:
        if _has_system(run):
            constants.append(assign("SYSTEM_PROMPT", data.system_prompt))
        constants.append(assign("TEMPLATE", run.template))
        form += parts.SYSTEM if _has_system(run) else parts.WITHOUT_SYSTEM
    code = [_READERS.get(suffix, parts.READ_TABLE), form]
    code += _tokenise(raw, data.train_on) + _choose(run, raw)
    imports = {"csv"} if suffix in _TABLES else {"json"}
    if parts.EVERY_ANSWER in code or parts.LAST_ANSWER in code:
        imports.add("from bisect import bisect_right")
    return DataPart(constants, code, imports, chat=not raw)


def _has_system(run: RunFacts) -> bool:
    return bool(run.recipe.data.system_prompt) or "system" in run.rows.mappings[0].columns


def _unusual(run: RunFacts) -> str:
    """Return what keeps a short script from reading the files again; empty where nothing does."""
    data, mappings = run.recipe.data, run.rows.mappings
    suffixes = {Path(path).suffix.lower() for path in _all_files(run)}
    same = {(m.format, tuple(sorted(m.columns.items()))) for m in mappings}
    if len(suffixes) != 1 or not suffixes <= {*_READERS, *_TABLES}:
        return "its files are not all JSON Lines, JSON or CSV"
    if len(same) != 1 or mappings[0].format not in _FORMS:
        return "its rows come in more than one form, or in a rare one"
    if data.encoding is not None or data.part is not None or data.header is False:
        return "its files are read in a way of their own"
    if data.sources or data.label_names or data.role_names or data.system_message != "keep":
        return "names, shares or files are changed while reading"
    if data.near_duplicates == "drop" or (data.overlap == "drop" and data.validation):
        return "near-duplicates are left out"
    if data.special_tokens == "text":
        return "marks typed in the text are read as words"
    return ""


def _all_files(run: RunFacts) -> Iterable[str]:
    validation = run.recipe.data.validation
    return [*run.files, *([str(locate(validation, run.folder))] if validation else [])]


def _splits(run: RunFacts) -> bool:
    return run.recipe.data.validation is None and bool(run.rows.validation)


def _tokenise(raw: bool, train_on: str) -> list[str]:
    if raw:
        return [parts.TOKENISE_TEXT]
    if train_on == "all":
        return [parts.TOKENISE_ALL]
    return [parts.LAST_ANSWER if train_on == "last" else parts.EVERY_ANSWER]


def _choose(run: RunFacts, raw: bool) -> list[str]:
    data = run.recipe.data
    whole = data.too_long in ("drop", "error")
    code = [parts.TEACHES_WHOLE if whole else parts.TEACHES]
    code.append(parts.PIECES_SPLIT if raw and data.too_long == "split" else parts.PIECES)
    code.append(parts.ROWS_ONCE if data.dedupe else parts.ROWS_OF)
    if data.validation:
        return [*code, parts.PREPARE_TWO]
    return [*code, parts.HELD_OUT, parts.PREPARE_SPLIT] if _splits(run) else [*code, parts.PREPARE_TRAIN]


def rows_kept(run: RunFacts, name: str, why: str) -> DataPart:
    """Return the part that takes the run's own token rows from the file `name` beside the script."""
    constants = [assign("ROWS_FILE", name), assign("TRAIN_ROWS", len(run.rows.train))]
    load = {"from safetensors.numpy import load_file"}
    return DataPart(constants, [parts.PREPARE_KEPT], load, why, tokenises=False)


def rows_file(rows: Prepared) -> bytes:
    """Return the token rows of a run as a safetensors file: ids, which are learnt, where each begins."""
    from safetensors.numpy import save

    examples = [*rows.train, *rows.validation]
    arrays: dict[str, Any] = {
        "ids": np.concatenate([np.asarray(e.ids, np.int32) for e in examples]),
        "trained": np.concatenate([np.asarray(e.trained, np.bool_) for e in examples]),
        "starts": np.cumsum([0, *(len(e.ids) for e in examples)], dtype=np.int64),
    }
    return bytes(save(arrays))
