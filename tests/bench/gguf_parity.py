"""GGUF files of the merged starter in transformers and in llama.cpp: greedy answers beside base + adapter.

usage: python -m tests.bench.gguf_parity RUN [--llama PYTHON] [--types f16,q8_0,q4_0] [--certificate]

RUN is a run of the starter, an adapter of it, or `starter`. PYTHON is one that has llama-cpp-python; else
one is made in the folder of --work, which builds llama.cpp from that package's source (an hour of one core).
Both programs get the same tokens; llama.cpp also makes tokens of the prompts' texts by itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.paths import resources
from engine.runtime.adapted import load_adapted
from engine.runtime.export import export_model
from engine.runtime.export_gguf import load_gguf
from engine.runtime.export_subject import find_exported
from engine.runtime.generate import Sampling, generate, stops_of
from engine.runtime.load import Compute
from tests.bench.machine import describe

PROMPTS = 20
PACKAGE = "llama-cpp-python==0.3.36"
CHILD = """
import json, sys
from llama_cpp import Llama
work = json.load(sys.stdin)
model = Llama(work["file"], n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False, type_k=0, type_v=0)
said, tokens = [], []
for text, ids in work["prompts"]:
    tokens.append(model.tokenize(text.encode(), add_bos=False, special=True))
    model.reset()
    answer = []
    for token in model.generate(ids, temp=0.0, repeat_penalty=1.0):
        if token in work["stops"] or len(answer) == work["tokens"]:
            break
        answer.append(token)
    said.append(answer)
print(json.dumps({"said": said, "tokens": tokens}))
"""


def llama_python(work: Path) -> str:
    """Return a python with llama.cpp in it, built from source where there is none yet."""
    own = work / "llama" / "bin" / "python"
    if not own.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(work / "llama")], check=True)
        build = [str(own), "-m", "pip", "install", "--no-binary", "llama-cpp-python", PACKAGE]
        environment = {"CMAKE_BUILD_PARALLEL_LEVEL": "1", "CMAKE_ARGS": "-DLLAVA_BUILD=OFF -DGGML_OPENMP=OFF"}
        subprocess.run(["nice", "-n", "19", *build], check=True, env={**_path(), **environment})
    return str(own)


def _path() -> dict[str, str]:
    import os

    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def questions() -> list[list[dict[str, str]]]:
    """Return 20 conversations of the example's held-out rows, without their answers."""
    rows = (resources("examples", "support", "holdout.jsonl")).read_text("utf-8").splitlines()
    return [json.loads(row)["messages"][:-1] for row in rows[:PROMPTS]]


class Asked:
    """The prompts as text and tokens, and what base + adapter answer greedily."""

    def __init__(self, model: str, tokens: int) -> None:
        self.exported = find_exported(model)
        self.target = self.exported.target
        template = load_template(self.target.base.path, self.target.chat_template)
        tokenizer = ModelTokenizer(self.target.base.path)
        self.texts = [template.render(q, add_generation_prompt=True) for q in questions()]
        self.ids = [tokenizer.encode(text) for text in self.texts]
        self.stops = stops_of(self.target.base.path, template, tokenizer)
        self.tokens = tokens
        self.said: list[list[int]] = []

    def listen(self, guesses: list[list[int]]) -> None:
        """Find the answers of base + adapter; a guess that it follows word for word is its answer."""
        loaded = load_adapted(
            self.target.base, self.target.adapter, Compute(torch.device("cpu"), torch.float32)
        )
        greedy = Sampling(max_new_tokens=self.tokens)
        with loaded.speaking("adapter" if self.target.adapter is not None else "base"):
            for ids, guess in zip(self.ids, guesses, strict=True):
                if not self.follows(loaded.model, ids, guess):
                    answer = generate(loaded.model, ids, greedy, stops=self.stops, decode=lambda ids: "")
                    guess = list(answer.ids)
                self.said.append(guess)

    @torch.inference_mode()
    def follows(self, model: Any, ids: list[int], answer: list[int]) -> bool:
        """Return whether a model would answer so: its likeliest words are the answer and its end."""
        scores = model(input_ids=torch.tensor([[*ids, *answer]])).logits[0, len(ids) - 1 :]
        words = scores.argmax(-1).tolist()
        ended = len(answer) == self.tokens or words[-1] in self.stops
        return bool(words[: len(answer)] == answer and ended)

    def of_transformers(self, model: Any) -> int:
        """Count the prompts that a loaded model answers as base + adapter do."""
        return sum(self.follows(model, ids, said) for ids, said in zip(self.ids, self.said, strict=True))

    def of_llama(self, python: str, file: Path) -> dict[str, Any]:
        """Return what llama.cpp answers, and the tokens that it makes of the texts."""
        work = {
            "file": str(file),
            "prompts": list(zip(self.texts, self.ids, strict=True)),
            "stops": sorted(self.stops),
            "tokens": self.tokens,
        }
        done = subprocess.run(
            [python, "-c", CHILD], input=json.dumps(work), capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found


def main() -> None:
    """Print a row for each type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--llama", metavar="PYTHON")
    parser.add_argument("--types", default="f16,q8_0,q4_0")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--certificate", action="store_true", help="make each file's certificate too")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "tunesmith-gguf")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    python = chosen.llama or llama_python(chosen.work)
    print(describe(), flush=True)
    asked = Asked(chosen.run, chosen.tokens)
    with tempfile.TemporaryDirectory(dir=chosen.work) as scratch:
        plain = asked.exported.plain(Path(scratch), lambda stage, done, total: None, "fp32")
        for kind in chosen.types.split(","):
            file = Path(scratch) / f"{kind}.gguf"
            made = export_model(chosen.run, file, "gguf", quantization=kind, check=chosen.certificate)
            llama = asked.of_llama(python, file)
            if not asked.said:
                asked.listen(llama["said"])
            theirs = asked.of_transformers(load_gguf(file, plain))
            told = f"{kind:6} {file.stat().st_size / 1e6:7.1f} MB  transformers {theirs}/{PROMPTS}"
            same = sum(a == b for a, b in zip(llama["said"], asked.said, strict=True))
            told += f"  llama.cpp {same}/{PROMPTS}"
            same = sum(a == b for a, b in zip(llama["tokens"], asked.ids, strict=True))
            told += f"  texts with equal tokens {same}/{PROMPTS}"
            if made["certificate"] is not None:
                found = made["certificate"]
                told += f"  verified {made['verified']}  top-1 {found['top1_agreement']:.4f}"
                told += (
                    f"  KL {found['mean_kl']:.1e}  same answers {found['same_answers']}/{found['prompts']}"
                )
            print(f"{told}  ({sum(map(len, asked.said))} tokens answered)", flush=True)


if __name__ == "__main__":
    main()
