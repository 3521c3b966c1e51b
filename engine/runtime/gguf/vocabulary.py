"""A tokenizer as a GGUF carries it: tokens, their kinds, merges or scores, and the ids with a meaning.

tokenizer.json is what a model was trained with, so it is the one source. Two kinds are known: byte-level BPE
("gpt2" in a GGUF) with its merges, and sentencepiece's BPE ("llama"), whose merges become scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.data.masks import end_of_turn_id
from engine.data.templates import ChatTemplate, read_special_tokens
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError, from_os_error
from engine.paths import show_name
from engine.runtime.gguf.splitting import find_way, unknown_way

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
MAX_BYTES = 256 << 20
SPACE = "\u2581"
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
_NAMED = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
# llama.cpp strips the blanks behind the marks of models so named; Phi-3's own tokenizer asks for it.
STRIPPED = "phi-3"


@dataclass(frozen=True)
class Vocabulary:
    """What the file's `tokenizer.ggml.*` keys hold; `ids` are by the keys' names, without `_token_id`."""

    model: str
    pre: str
    tokens: list[str]
    kinds: list[int]
    scores: list[float] | None
    merges: list[str] | None
    ids: dict[str, int]
    add_bos: bool
    add_space_prefix: bool | None
    strips: bool = False
    remarks: tuple[str, ...] = ()


def read_vocabulary(folder: Path, size: int, template: ChatTemplate | None) -> Vocabulary:
    """Return the vocabulary of a model folder, filled up to `size` tokens.

    `template` is the one the model is spoken to with: whether a text begins with the BOS token, and which
    token ends an answer, follow from it. Raises EngineError MODEL-05 for a tokenizer that a GGUF cannot hold.
    """
    described = _read(folder / "tokenizer.json")
    model = described.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else None
        raise _refused(f"its model is {kind or 'unknown'}, not BPE")
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(name):
            raise _refused(f"it has a {name}")
    tokenizer = ModelTokenizer(folder)
    tokens, kinds = _tokens(described, size)
    filled = Vocabulary("", "", tokens, kinds, None, None, _ids(folder, tokenizer, template), False, None)
    filled = replace(filled, add_bos=_begins_with_bos(tokenizer, template))
    if model.get("byte_fallback"):
        return _of_pieces(described, filled)
    _refuse_normalizer(described)
    way = find_way(described)
    return replace(filled, model="gpt2", pre=way.name, merges=[" ".join(pair) for pair in _pairs(model)])


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _refused("tokenizer.json is larger than 256 MiB")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except (ValueError, RecursionError) as error:
        raise EngineError(
            "tokenizer.json is damaged.", "Download the model again.", "MODEL-02", file=str(path)
        ) from error
    return value if isinstance(value, dict) else {}


def _refused(why: str) -> EngineError:
    return EngineError(
        f"This tokenizer cannot be written into a GGUF: {show_name(why, 200)}.",
        "Export it as safetensors.",
        "MODEL-05",
        field="format",
    )


def _pairs(model: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the merges; older files write them with a blank between."""
    found = []
    for pair in model.get("merges") or []:
        left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
        found.append((str(left), str(right)))
    return found


def _tokens(described: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Return tokens and kinds by id; ids that no token has are filled as llama.cpp's converter does."""
    vocab = described["model"]["vocab"]
    added = [token for token in described.get("added_tokens") or [] if isinstance(token, dict)]
    highest = max([*vocab.values(), *(int(token["id"]) for token in added)], default=-1)
    if highest >= size:
        raise _refused(f"it has a token {highest}, and the model's table has {size} rows")
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [UNUSED] * size
    for text, number in vocab.items():
        tokens[number], kinds[number] = text, NORMAL
    if described["model"].get("byte_fallback"):
        for text in _BYTES:
            if text in vocab:
                kinds[vocab[text]] = BYTE
        unknown = described["model"].get("unk_token")
        if unknown in vocab:
            kinds[vocab[unknown]] = UNKNOWN
    for token in added:
        number, text = int(token["id"]), str(token["content"])
        marked = CONTROL if token.get("special") else USER_DEFINED
        if kinds[number] != UNKNOWN:
            kinds[number] = marked
        tokens[number] = text.replace(SPACE, " ") if marked == USER_DEFINED else text
    if len(set(tokens)) != size or "" in tokens:
        raise _refused("two of its tokens have the same text")
    return tokens, kinds


def _ids(folder: Path, tokenizer: ModelTokenizer, template: ChatTemplate | None) -> dict[str, int]:
    named = read_special_tokens(folder)
    found: dict[str, int] = {}
    for key, name in _NAMED.items():
        number = tokenizer.bare.token_to_id(named[name]) if name in named else None
        if number is not None:
            found[key] = int(number)
    if tokenizer.eos_id is not None:
        found.setdefault("eos", tokenizer.eos_id)
    end = end_of_turn_id(template, tokenizer) if template is not None else None
    if end is not None:
        found["eot"] = end
        found.setdefault("eos", end)
    return found


def _begins_with_bos(tokenizer: ModelTokenizer, template: ChatTemplate | None) -> bool:
    """Return whether a program is to put the BOS token first: where the trained texts begin with it."""
    if tokenizer.bos_id is None:
        return False
    if template is None:
        return tokenizer.start_ids[:1] == [tokenizer.bos_id]
    return bool(written_bos(template, tokenizer))


def written_bos(template: ChatTemplate, tokenizer: ModelTokenizer) -> str:
    """Return the BOS token that a template writes before a conversation, empty where it writes none.

    ChatML's <|im_start|> may be named BOS: it begins each turn, so no program may add or drop one.
    """
    bos = tokenizer.tokens.get("bos_token", "")
    text = template.render([{"role": "user", "content": "a"}], add_generation_prompt=True)
    return bos if bos and text.startswith(bos) and text.count(bos) == 1 else ""


def _refuse_normalizer(described: dict[str, Any]) -> None:
    """Byte-level BPE of a GGUF changes no text; NFC, which Qwen asks for, leaves usual text as it is."""
    normalizer = described.get("normalizer")
    if normalizer is None or normalizer.get("type") == "NFC":
        return
    if normalizer.get("type") == "Sequence" and not normalizer.get("normalizers"):
        return
    raise unknown_way(f"its normalizer {normalizer.get('type')}")


def _of_pieces(described: dict[str, Any], filled: Vocabulary) -> Vocabulary:
    """Return sentencepiece's BPE, each piece scored by the place of its merge."""
    tokens, kinds = filled.tokens, filled.kinds
    missing = set(_BYTES) - {tokens[i] for i, kind in enumerate(kinds) if kind == BYTE}
    if missing:
        raise _refused(f"{min(missing)} is missing among its bytes")
    scores = piece_scores(described["model"], tokens, kinds)
    strips = any(token.get("rstrip") for token in described.get("added_tokens") or [])
    return replace(
        filled,
        model="llama",
        pre="default",
        scores=scores,
        add_space_prefix=_prefix(described),
        strips=strips,
    )


def _prefix(described: dict[str, Any]) -> bool:
    """Return whether a blank is put before each text; refuses normalizers that do anything else."""
    found = False
    normalizer = described.get("normalizer") or {}
    parts = normalizer.get("normalizers") if normalizer.get("type") == "Sequence" else [normalizer]
    for part in [part for part in parts or [] if part]:
        if part.get("type") == "Prepend" and part.get("prepend") == SPACE:
            found = True
        elif part.get("type") != "Replace" or part.get("pattern") != {"String": " "}:
            raise unknown_way(f"its normalizer {part.get('type')}")
    before = described.get("pre_tokenizer") or {}
    kind = before.get("type")
    if kind == "Metaspace":
        if before.get("split") is not False:
            raise unknown_way("Metaspace that splits")
        return found or before.get("prepend_scheme") == "always"
    if kind not in (None, "Split") or (kind == "Split" and before.get("pattern") != {"String": " "}):
        raise unknown_way(str(kind))
    return found


def piece_scores(model: dict[str, Any], tokens: list[str], kinds: list[int]) -> list[float]:
    """Return a score for each piece: minus the place of the first merge that makes it, [tokens].

    sentencepiece joins the two neighbours whose joined text has the highest score, BPE the pair that stands
    first among the merges. They agree when every way to make a piece is among the merges; else it is refused.
    """
    vocab: dict[str, int] = model["vocab"]
    place: dict[str, int] = {}
    ways: dict[str, int] = {}
    for number, (left, right) in enumerate(_pairs(model)):
        place.setdefault(left + right, number)
        ways[left + right] = ways.get(left + right, 0) + 1
    last = len(model.get("merges") or [])
    scores = [0.0] * len(tokens)
    for text, number in vocab.items():
        if kinds[number] != NORMAL:
            continue
        scores[number] = -float(place.get(text, last + number))
        halves = sum(text[:cut] in vocab and text[cut:] in vocab for cut in range(1, len(text)))
        if halves != ways.get(text, 0):
            raise _refused(f"its merges do not name every way to make {text}")
    return scores
