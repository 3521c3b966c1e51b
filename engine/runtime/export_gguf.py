"""A GGUF of a plain model folder, and its certificate: file, tokens, template, stop words, answers."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine import durable
from engine.data.masks import end_of_turn_id
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.models.export_facts import NumberType, find_quantizer, text_config
from engine.models.facts import read_facts
from engine.models.weight_files import read_json
from engine.paths import show_name
from engine.runtime.check_prompts import BUILT_IN
from engine.runtime.convert import alone
from engine.runtime.fidelity import LIMITS, Limit, Progress, Reference, certify, subject_of
from engine.runtime.gguf.families import shape_of
from engine.runtime.gguf.proof import (
    TALKS,
    TEXTS,
    Finding,
    Trained,
    prove_stops,
    prove_template,
    prove_tensors,
    prove_tokens,
    prove_values,
)
from engine.runtime.gguf.read import ReadBack
from engine.runtime.gguf.source import sources_of
from engine.runtime.gguf.vocabulary import read_vocabulary
from engine.runtime.gguf.write import About, Content, write_gguf
from engine.runtime.target import Target

QUANTIZE_SECONDS = 6 * 3600.0
_PASSED = (
    "PATH",
    "LANG",
    "LD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "SYSTEMROOT",
    "TMPDIR",
    "TEMP",
    "TMP",
)
# What answers must agree to by type; of one decimal place fewer with each two bits, as rounding takes words
# that were nearly even. Greedy answers that stay word for word the same are told beside it.
ANSWERS = {
    "f32": LIMITS["float32"],
    "f16": LIMITS["float16"],
    "bf16": LIMITS["bfloat16"],
    "q8_0": Limit(None, 0.95, 0.02, 2.0**-8),
    "q6_k": Limit(None, 0.90, 0.06, 2.0**-7),
    "q5": Limit(None, 0.85, 0.15, 2.0**-6),
    "q4": Limit(None, 0.70, 0.5, 2.0**-5),
    "q3": Limit(None, 0.5, 1.5, 2.0**-4),
    "q2": Limit(None, 0.3, 3.0, 2.0**-4),
}


@dataclass(frozen=True)
class Made:
    """A file that was written, and what it should hold."""

    path: Path
    content: Content
    kind: NumberType
    trained: Trained
    plain: Path


def limit_of(kind: str) -> Limit:
    """Return what the answers of a type must agree to."""
    return ANSWERS.get(kind) or ANSWERS[kind[:2]]


def trained_of(target: Target, plain: Path) -> Trained:
    """Return how a model was trained to be spoken to; `plain` holds its tokenizer."""
    tokenizer = ModelTokenizer(plain)
    template = load_template(target.base.path, target.chat_template)
    return Trained(tokenizer, template, target.system_prompt, end_of_turn_id(template, tokenizer))


def make_gguf(
    target: Target, plain: Path, path: Path, kind: NumberType, about: About, tell: Progress
) -> Made:
    """Write `path` from the plain folder of a target; raises EngineError MODEL-05 where it cannot be."""
    if kind.foreign:
        needed_program(kind)
    made = plan_gguf(target, plain, path, kind, about)
    written = path.with_name(f"{path.stem}-16.gguf") if kind.foreign else path
    write_gguf(made.content, written, tell)
    if kind.foreign:
        quantize_by_program(written, path, kind)
        durable.remove_file(written)
    return made


def plan_gguf(target: Target, plain: Path, path: Path, kind: NumberType, about: About) -> Made:
    """Return what `path` is to hold; raises EngineError MODEL-05 where it cannot be."""
    facts = read_facts(plain)
    if facts.quantization is not None:
        raise EngineError(
            f"{facts.name} is quantised ({facts.quantization}); its plain weights are needed.",
            "Choose the plain model, or export the adapter on its plain base with --base.",
            "MODEL-05",
            file=str(plain),
        )
    shape = shape_of(plain, facts.tied)
    trained = trained_of(target, plain)
    vocabulary = read_vocabulary(plain, int(shape.values["vocab_size"]), trained.template)
    first = "f16" if kind.foreign else kind.name
    content = Content(
        shape, vocabulary, sources_of(plain, shape, facts.tied), first, about, trained.template.source
    )
    return Made(path, content, kind, trained, plain)


def needed_program(kind: NumberType) -> Path:
    """Return where llama.cpp's program lies; raises EngineError REC-01 without it."""
    program = find_quantizer()
    if program is None:
        raise EngineError(
            f"{kind.name} is made by llama.cpp's program llama-quantize, which is not on the search path.",
            "Install llama.cpp, or use q8_0, q5_1, q5_0, q4_1 or q4_0.",
            "REC-01",
            field="quantization",
        )
    return program


def quantize_by_program(source: Path, out: Path, kind: NumberType) -> None:
    """Let llama.cpp's own program make a k-type; it gets no more of the environment than it needs.

    Raises EngineError REC-01 without the program, MODEL-05 when it fails.
    """
    program = needed_program(kind)
    command = [
        str(program),
        str(source),
        str(out),
        kind.name.upper(),
        str(max(1, (os.cpu_count() or 2) // 2)),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={name: os.environ[name] for name in _PASSED if name in os.environ},
            cwd=source.parent,
            timeout=QUANTIZE_SECONDS,
        )
        problem = "" if done.returncode == 0 and out.is_file() else f"it ended with {done.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"it did not end within {QUANTIZE_SECONDS / 3600:.0f} hours"
    if problem:
        said = "" if "within" in problem else done.stderr[-300:].decode("utf-8", "replace").strip()
        raise EngineError(
            f"llama-quantize failed: {problem}. {show_name(said, 200)}".strip(),
            "Use q8_0, q5_1, q5_0, q4_1 or q4_0, which need no other program.",
            "MODEL-05",
            field="quantization",
        )


def prove_gguf(made: Made, tell: Progress) -> dict[str, Finding]:
    """Read the file back and return what each proof found, but for the answers."""
    try:
        file = ReadBack(made.path)
    except EngineError as error:
        return {"file": Finding(False, error.message)}
    texts = [*TEXTS, *BUILT_IN]
    for talk in TALKS:
        try:
            texts.append(made.trained.talk(talk))
        except EngineError:
            continue
    content = made.content
    sources, extra = content.sources, content.shape.extra
    return {
        "values": prove_values(file, content, left_out=made.kind.foreign),
        "tensors": prove_tensors(file, sources, extra, tell, foreign=made.kind.foreign),
        "tokens": prove_tokens(file, made.trained, texts),
        "template": prove_template(file, made.trained),
        "stops": prove_stops(file, made.trained),
    }


def prove_answers(path: Path, plain: Path, reference: Reference, kind: str, tell: Progress) -> dict[str, Any]:
    """Let transformers read the file and compare its answers with those of base + adapters."""
    count = len(reference.prompts)
    try:
        model = load_gguf(path, plain)
    except (ValueError, KeyError, NotImplementedError, RuntimeError, OSError) as error:
        reason = f"transformers cannot read it ({type(error).__name__})"
        return {"kind": "gguf", "passed": False, "reason": reason}
    found = certify(
        reference,
        subject_of(model),
        kind="gguf",
        dtype=kind,
        limit=limit_of(kind),
        tell=lambda done: tell("answer", done, count),
    )
    del model
    gc.collect()
    return found


def load_gguf(path: Path, plain: Path) -> Any:
    """Load a file through transformers, in float32.

    Its shape is taken from the folder: transformers' reader leaves out what it has no field for, such as the
    scaling of positions. That the file says it right is proved by `prove_values`.
    """
    from transformers import AutoModelForCausalLM

    with alone(path) as place:
        model, info = AutoModelForCausalLM.from_pretrained(
            str(place),
            gguf_file=path.name,
            config=_config(plain),
            dtype=torch.float32,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    missing = sorted(info.get("missing_keys", ()))
    if missing:
        raise ValueError(f"{missing[0]} is not in the file")
    return model.eval()


def _config(plain: Path) -> Any:
    """Return the folder's configuration; a Mistral's is a Llama's, whose name it has in a GGUF."""
    from transformers import CONFIG_MAPPING

    values: Mapping[str, Any] = text_config(read_json(plain / "config.json"))
    kind = {"mistral": "llama"}.get(str(values["model_type"]), str(values["model_type"]))
    dropped = ("model_type", "auto_map", "quantization_config", "architectures", "transformers_version")
    config = CONFIG_MAPPING[kind].from_dict({k: v for k, v in values.items() if k not in dropped})
    config.tie_word_embeddings = bool(read_facts(plain).tied)
    return config


def certificate(findings: Mapping[str, Finding], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Join what was found: passed only where all passed, with the first reason where one did not."""
    failed = [finding.reason for finding in findings.values() if not finding.passed]
    if not answers["passed"]:
        failed.append(str(answers.get("reason", "the answers differ")))
    return {
        **answers,
        "passed": not failed,
        **({"reason": failed[0]} if failed else {}),
        "checks": {name: finding.as_dict() for name, finding in findings.items()},
    }
