"""Turn a .gguf into a plain transformers folder: safetensors, tokenizer, chat template, stop tokens.

Run in a process of its own: `python -I -X utf8 -m engine.runtime.convert FILE.gguf FOLDER`. On failure the
last line of standard output is the error as JSON and the exit status is 1.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import durable
from engine.errors import EngineError, from_os_error
from engine.jobs import room
from engine.models.gguf_header import GgufFacts, read_gguf
from engine.runtime import imports

# Texts that end an answer in the templates of the known families; the first one a tokenizer knows is added.
END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|end_of_turn|>", "<|eot|>")
FLOAT_BYTES = 4


def convert_gguf(gguf: Path, out: Path) -> Path:
    """Write `out` as a plain folder holding the same model as `gguf`, dequantised to float32.

    float32 keeps the file's values exactly (a 4-bit block's scale times its number does not fit bf16), so
    what is trained and merged on the folder agrees with the file. Written beside `out`, renamed when whole.
    Raises EngineError MODEL-02 / MODEL-05 for a file that cannot be converted, DISK-* if writing fails.
    """
    imports.forbid_kernels()
    facts = read_gguf(gguf)
    room.refuse_full(out.parent, FLOAT_BYTES * sum(math.prod(shape) for shape in facts.tensors.values()))
    try:
        scratch = durable.scratch_folder(out)
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    try:
        _write(facts, scratch)
        for path in scratch.iterdir():
            os.chmod(path, 0o644)
            durable.fsync_file(path)
        durable.fsync_folder(scratch)
        _move(scratch, out)
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    finally:
        durable.discard(scratch)
    return out


def _move(scratch: Path, out: Path) -> None:
    """Put the whole folder in place; another process that was quicker wins, its folder is the same."""
    scratch.chmod(0o755)
    try:
        durable.replace(scratch, out)
    except OSError:
        if not (out / "config.json").is_file():
            raise
    durable.fsync_folder(out.parent)


def _write(facts: GgufFacts, folder: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with alone(facts.path) as place:
            where = {"pretrained_model_name_or_path": str(place), "gguf_file": facts.path.name}
            tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                **where, dtype=torch.float32, trust_remote_code=False
            )
    except (ValueError, KeyError, NotImplementedError) as error:
        raise EngineError(
            f"transformers cannot read {facts.path.name} ({facts.architecture or 'unknown'}).",
            "Choose a folder with safetensors, or a .gguf of a family such as llama, qwen2 or gemma2.",
            "MODEL-05",
            file=str(facts.path),
        ) from error
    _as_plain(model)
    _complete_tokenizer(tokenizer, facts)
    _set_stops(model, tokenizer)
    try:
        model.save_pretrained(folder, max_shard_size="4GB")
    except SafetensorError as error:  # the library's own words for a full or failing disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
    tokenizer.save_pretrained(folder)
    _name_tokenizer(folder / "tokenizer_config.json")


@contextmanager
def alone(gguf: Path) -> Iterator[Path]:
    """Return a folder that holds the file and nothing else: what lies beside it is read otherwise."""
    with tempfile.TemporaryDirectory(prefix="gguf-") as made:
        place = Path(made) / gguf.name
        for put in (os.symlink, os.link, shutil.copyfile):
            try:
                put(gguf.resolve(), place)
                break
            except OSError:
                if put is shutil.copyfile:
                    raise
        yield Path(made)


def _name_tokenizer(path: Path) -> None:
    """Call the tokenizer by the name that every version of transformers, and vLLM, knows."""
    values = json.loads(path.read_text(encoding="utf-8"))
    for name in ("backend", "is_local", "local_files_only"):
        values.pop(name, None)
    values["tokenizer_class"] = "PreTrainedTokenizerFast"
    values["clean_up_tokenization_spaces"] = False
    durable.write_json(path, values)


def _as_plain(model: Any) -> None:
    """Forget that the weights came from a quantised file: they are plain now and are to be saved so."""
    model.hf_quantizer = None
    model.is_quantized = False
    for name in ("quantization_method", "_is_quantized"):
        if hasattr(model, name):
            setattr(model, name, None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("_name_or_path", "_model_name_or_path", "unk_token_id"):
        model.config.__dict__.pop(name, None)
    model.generation_config._from_model_config = False


def _complete_tokenizer(tokenizer: Any, facts: GgufFacts) -> None:
    """Set what transformers' GGUF reader leaves out: the longest input and how SmolLM splits numbers."""
    length = facts.values.get(f"{facts.architecture}.context_length")
    if isinstance(length, int):
        tokenizer.model_max_length = length
    if facts.values.get("tokenizer.ggml.pre") == "smollm":
        from tokenizers import decoders, pre_tokenizers

        digits = pre_tokenizers.Digits(individual_digits=True)
        by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, by_bytes])
        tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()


def _set_stops(model: Any, tokenizer: Any) -> None:
    """An answer ends at the file's end token and at the template's end of turn, whichever comes."""
    generation = model.generation_config
    known = generation.eos_token_id if generation.eos_token_id is not None else tokenizer.eos_token_id
    stops = list(known) if isinstance(known, list) else [known] if known is not None else []
    template = tokenizer.chat_template or ""
    for text in END_OF_TURN:
        token = tokenizer.convert_tokens_to_ids(text)
        if (
            text in template
            and isinstance(token, int)
            and token != tokenizer.unk_token_id
            and token not in stops
        ):
            stops.append(token)
    generation.eos_token_id = stops[0] if len(stops) == 1 else stops or None
    if generation.pad_token_id is None:
        generation.pad_token_id = (
            tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (stops or [None])[0]
        )
    if tokenizer.pad_token_id is None and generation.pad_token_id is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(generation.pad_token_id)


def main(arguments: list[str] | None = None) -> int:
    """Convert FILE to FOLDER; answers with the exit status."""
    gguf, out = (Path(a) for a in (sys.argv[1:] if arguments is None else arguments))
    try:
        convert_gguf(gguf, out)
    except EngineError as error:
        print(json.dumps(error.as_dict()), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
