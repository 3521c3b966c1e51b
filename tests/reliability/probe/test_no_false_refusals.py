"""What real models bring passes the probe: templates and tokenizers of the families people use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.probes import proof, verdicts
from tests.unit.data import chat_templates as known

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
BYTES_BACK = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
META = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def split(pattern: str, behavior: str = "Isolated") -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def steps(kind: str, name: str, *inner: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Sequence",
        {"normalizer": "normalizers", "pre": "pretokenizers"}.get(kind, name): [*inner],
    }


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = CL100K.replace("{1,3}", "")
CJK = r"[一-龥぀-ゟ゠-ヿ]+"
LLAMA_BACK = [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
BERT = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
# Normalizer, pre-tokenizer, decoder as the families write them into tokenizer.json.
FAMILIES: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None, dict[str, Any] | None]] = {
    "gpt2": (None, {**BYTES, "use_regex": True}, BYTES_BACK),
    "llama2": (
        steps("normalizer", "", {"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")),
        None,
        steps("", "decoders", *LLAMA_BACK, STRIP),
    ),
    "llama3": (None, steps("pre", "", split(CL100K), BYTES), BYTES_BACK),
    "mistral": (None, META, steps("", "decoders", *LLAMA_BACK, STRIP)),
    "qwen2": ({"type": "NFC"}, steps("pre", "", split(QWEN), BYTES), BYTES_BACK),
    "gemma": (replace(" ", "▁"), split(" ", "MergedWithPrevious"), steps("", "decoders", *LLAMA_BACK)),
    "deepseek": (
        steps("normalizer", ""),
        steps("pre", "", split(r"\p{N}{1,3}"), split(CJK), split(CL100K), BYTES),
        BYTES_BACK,
    ),
    "starcoder": (
        None,
        steps("pre", "", {"type": "Digits", "individual_digits": True}, {**BYTES, "use_regex": True}),
        BYTES_BACK,
    ),
    "falcon": (
        None,
        steps("pre", "", {"type": "Punctuation", "behavior": "Contiguous"}, BYTES, split("[0-9][0-9][0-9]")),
        BYTES_BACK,
    ),
    "bert": (
        {"type": "BertNormalizer", **BERT},
        {"type": "BertPreTokenizer"},
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
    ),
    "xlnet": (
        steps(
            "normalizer",
            "",
            replace("``", '"'),
            replace("''", '"'),
            {"type": "NFKD"},
            replace(" {2,}", " ", "Regex"),
        ),
        {**META, "prepend_scheme": "always"},
        {**META, "prepend_scheme": "always"},
    ),
}


def tokenizer_of(family: str) -> str:
    normalizer, pre_tokenizer, decoder = FAMILIES[family]
    marks = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", *(f"<extra_{i}>" for i in range(200))]
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    vocabulary = {chr(c): number for number, c in enumerate([*range(33, 127), *range(0xA1, 0x180), 0x2581])}
    added = [
        {"id": len(vocabulary) + number, "content": mark, "special": True, **flags}
        for number, mark in enumerate(marks)
    ]
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True, "unk_token": None}
    whole = {
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "post_processor": None,
        "model": model,
    }
    parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": decoder}
    return json.dumps({"version": "1.0", **whole, **parts})


def test_m26_that_tokenizers_of_real_families_pass(tmp_path: Path) -> None:
    questions = []
    for family in FAMILIES:
        path = tmp_path / f"{family}.json"
        path.write_text(tokenizer_of(family), "utf-8")
        questions.append(proof.file_question("tokenizer", path))
    for family, (verdict, _) in zip(FAMILIES, proof.ask(questions), strict=True):
        assert verdict.sound, (family, verdict.message)
        assert verdict.facts["added"] == 204 and verdict.facts["chatml"]


def test_m24_m25_that_templates_of_real_families_pass_and_hide_nothing() -> None:
    sources = {
        name: value
        for name, value in vars(known).items()
        if name.isupper() and isinstance(value, str) and "{%" in value
    }
    assert len(sources) >= 5, sources.keys()
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    questions = [
        proof.Question(
            "template",
            verdicts.digest_of(source),
            name,
            {"source": source, "name": name, "tokens": tokens},
        )
        for name, source in sources.items()
    ]
    for name, (verdict, _) in zip(sources, proof.ask(questions), strict=True):
        assert verdict.sound, (name, verdict.message)
        assert verdict.facts["missing"] == [], (name, verdict.facts)
