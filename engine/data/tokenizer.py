"""A model's tokenizer, straight from tokenizer.json: no torch, no transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from engine.data.special_tokens import refuse_odd_marks
from engine.data.templates import ChatTemplate, _read_json, load_template, own_question, read_special_tokens
from engine.durable import sha256_file
from engine.errors import EngineError
from engine.probes import proof


class ModelTokenizer:
    """Text to ids and back. No special token is added unasked: chat templates write them themselves.

    `start_ids` are what the model's tokenizer puts before a plain text (often the BOS token, often nothing).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "tokenizer.json"
        self._tokenizer = _load(self.path)
        self.start_ids: list[int] = _start_ids(self._tokenizer)
        # Without it offsets are exact: a byte-level post-processor cuts blanks off them.
        self._tokenizer.post_processor = None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.tokens = read_special_tokens(self.folder)
        refuse_odd_marks(self._tokenizer, self.tokens.get("eos_token"), self.path)
        self.bos_id = self._id("bos_token")
        self.eos_id = self._id("eos_token")
        if self.eos_id is None:
            self.eos_id = self._configured("eos_token_id")
        self.pad_id = self._id("pad_token")
        if self.pad_id is None:
            self.pad_id = self.eos_id

    @property
    def bare(self) -> Tokenizer:
        """The library's own tokenizer, without a post-processor; not to be changed."""
        return self._tokenizer

    def _id(self, name: str) -> int | None:
        token = self.tokens.get(name)
        found: int | None = self._tokenizer.token_to_id(token) if token is not None else None
        return found

    def _configured(self, name: str) -> int | None:
        for file in ("generation_config.json", "config.json"):
            value = _read_json(self.folder / file).get(name)
            value = value[0] if isinstance(value, list) and value else value
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < self.vocab_size:
                return value
        return None

    @cached_property
    def vocab_size(self) -> int:
        """Number of different ids, added tokens counted."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the tokens that are marks, no words."""
        added = self._tokenizer.get_added_tokens_decoder()
        marked = {i for i, token in added.items() if token.special}
        return frozenset(marked | {i for i in (self.eos_id, self.bos_id) if i is not None})

    @cached_property
    def special_texts(self) -> frozenset[str]:
        """The marks as they are written."""
        found = (self._tokenizer.id_to_token(i) for i in self.special_ids)
        return frozenset(t for t in found if t)

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The model's own chat template, or a sound default."""
        return load_template(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer.json."""
        return sha256_file(self.path)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, special tokens in it recognised, none added."""
        with guarded(self.path):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts, faster than one by one."""
        with guarded(self.path):
            found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [e.ids for e in found]

    def encode_spans(self, texts: Sequence[str]) -> list[Encoding]:
        """Return encodings with `.ids` and `.offsets` (characters [start, end) of each token)."""
        with guarded(self.path):
            return list(self._tokenizer.encode_batch(list(texts), add_special_tokens=False))

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Return the text of some ids."""
        with guarded(self.path):
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def token(self, token_id: int) -> str:
        """Return one token as it stands in the vocabulary."""
        return str(self._tokenizer.id_to_token(token_id))


def open_tokenizer(folder: str | Path) -> ModelTokenizer:
    """Return the tokenizer of a folder, the one already open where its file is the same."""
    path = Path(folder) / "tokenizer.json"
    return _open(Path(folder), path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=2)
def _open(folder: Path, changed: int) -> ModelTokenizer:
    return ModelTokenizer(folder)


def _load(path: Path) -> Tokenizer:
    """Return the tokenizer of a file, once a probe has found it sound."""
    if not path.is_file():
        raise EngineError(
            f"{path.parent.name} has no tokenizer.json.",
            "Choose a model folder with a fast tokenizer; most models on the hub have one.",
            "MODEL-05",
            file=str(path),
        )
    question = proof.file_question("tokenizer", path)
    proof.proven(question, file=str(path), beside=own_question(path.parent))
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != question.content:
        raise stopped(path, "it changed while it was read")
    return whole_tokenizer(path, content)


def whole_tokenizer(path: Path, content: bytes) -> Tokenizer:
    """Return the library's tokenizer of a file's content; raises EngineError MODEL-06."""
    with guarded(path):
        return Tokenizer.from_buffer(content)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what the library raises into an error of ours: its panics are no Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, EngineError):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the library is no Exception
        why = "it needs too much memory" if isinstance(error, MemoryError) else "its library refuses it"
        raise stopped(path, why) from error


def stopped(path: Path, why: str) -> EngineError:
    """Return the error of a tokenizer that may not be used."""
    return EngineError(
        f"The tokenizer of this model was stopped: {why}.",
        "Choose another model, or download this one again.",
        "MODEL-06",
        file=str(path),
    )


def _start_ids(tokenizer: Any) -> list[int]:
    """Return what the tokenizer's own post-processor puts before a text."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return list(full[:start])
    return []
