"""The starter's adapters by every family, and two of them by every way of mixing: merged and certified.

usage: python -m tests.bench.merge_methods --work FOLDER [--steps N] [FAMILY ...]

Each family trains N steps (4) on the example, then goes into the base in float32 and bfloat16; each way of
mixing makes a merged model in both types and a new adapter. Then A + B - B beside A, two ranks by linear and
cat, and one flipped byte. A line for each with its certificate; the exit code is 1 where one did not pass.
What --work already holds is used again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open

from engine.models.merging import METHODS
from engine.paths import resources
from tests.bench.machine import describe

FAMILIES: dict[str, dict[str, Any]] = {
    "lora": {},
    "second": {},  # another LoRA of the same shape, of another seed
    "wide": {"r": 12},
    "dora": {"use_dora": True},
    "rank-stabilised": {"use_rslora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "eva": {"init_lora_weights": "eva"},
    "adalora": {"method": "adalora"},
    "vera": {"method": "vera"},
    "ia3": {"method": "ia3"},
    "oft": {"method": "oft", "oft_block_size": 16},
    "whole-norms": {"modules_to_save": ["norm", "input_layernorm"]},
    "whole-head": {"modules_to_save": ["lm_head"]},
}
LIMITS = {"fp32": ("max_logit_difference", 1e-3), "bf16": ("top1_agreement", 0.99)}


def tunesmith(*words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the last line that a verb of the command line said in JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", *words, "--json"], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    said = json.loads(lines[-1]) if lines else {"message": done.stderr[-400:]}
    return done.returncode, said.get("error", said)


def trained(name: str, work: Path, steps: int) -> Path:
    """Return the adapter of a run of this family, made where there is none yet."""
    folder = work / "runs" / name
    if not (folder / "adapter").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        sets = {f"adapter.{field}": value for field, value in FAMILIES[name].items()}
        sets |= {
            "training.max_steps": 3 * steps if name == "adalora" else steps,
            "training.seed": len(name),
            "evaluation.eval_steps": None,
        }
        if FAMILIES[name].get("method"):
            sets["training.learning_rate"] = 3e-2  # few numbers, large steps
        recipe = str(resources("examples", "support", "recipe.yaml"))
        words = [
            f"--set={field}={value if isinstance(value, str) else json.dumps(value)}"
            for field, value in sets.items()
        ]
        code, said = tunesmith("train", recipe, *words, f"--run-dir={folder}")
        if code:
            raise SystemExit(f"{name}: the training ended with {code}: {said}")
    return folder / "adapter"


class Table:
    """The lines said so far, and whether each is what it must be."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def add(self, what: str, figures: str, *, passed: bool) -> None:
        print(f"{what:34} {'pass' if passed else 'FAIL'}  {figures}", flush=True)
        if not passed:
            self.failed.append(what)

    def certificate(self, what: str, dtype: str, code: int, said: dict[str, Any]) -> None:
        found = said.get("fidelity") or said.get("loss") or {}
        if code or "max_logit_difference" not in found:
            self.add(what, f"exit {code}: {said.get('message', '')} {said.get('hint', '')}", passed=False)
            return
        field, limit = LIMITS[dtype]
        good = found[field] <= limit if dtype == "fp32" else found[field] >= limit
        figures = (
            f"largest logit difference {found['max_logit_difference']:.1e}, KL {found['mean_kl']:.1e}, "
            f"top-1 {found['top1_agreement']:.4f}"
        )
        self.add(what, figures, passed=bool(good and found["passed"]))


def merged(table: Table, work: Path, what: str, dtype: str, *words: str) -> Path:
    """Merge into the base, note the certificate, and return the folder."""
    out = work / "merged" / f"{what}-{dtype}".replace(" ", "-")
    shutil.rmtree(out, ignore_errors=True)
    code, said = tunesmith("merge", *words, f"--out={out}", f"--dtype={dtype}")
    table.certificate(f"{what}, {dtype}", dtype, code, said)
    return out


def farthest(one: Path, other: Path) -> float:
    """Return the largest difference of any value of two merged models."""
    with safe_open(one / "model.safetensors", "pt") as a, safe_open(other / "model.safetensors", "pt") as b:
        assert set(a.keys()) == set(b.keys())
        return max(float((a.get_tensor(n).float() - b.get_tensor(n).float()).abs().max()) for n in a.keys())


def mixtures(table: Table, work: Path, steps: int) -> None:
    """Mix two adapters by every way into the base and into a new adapter."""
    pair = [str(trained(name, work, steps)) for name in ("lora", "second")]
    for method in METHODS:
        words = [*pair, "--weights=0.7,0.4", f"--method={method}", "--seed=7"]
        words += ["--density=0.5"] * (method not in ("linear", "cat", "svd"))
        for dtype in LIMITS:
            shutil.rmtree(merged(table, work, f"mix {method}", dtype, *words), ignore_errors=True)
        out = work / "mixed" / method
        shutil.rmtree(out, ignore_errors=True)
        code, said = tunesmith("merge", *words, "--adapter-only", f"--out={out}")
        table.certificate(f"mix {method}, new adapter", "fp32", code, said)


def sums(table: Table, work: Path, steps: int) -> None:
    """A + B - B is A; two ranks: linear is refused, cat is exact; a flipped byte is found."""
    a, b, wide = (str(trained(name, work, steps)) for name in ("lora", "second", "wide"))
    alone = merged(table, work, "A", "fp32", a)
    back = merged(table, work, "A + B - B", "fp32", a, b, b, "--weights=1,1,-1")
    apart = farthest(alone, back)
    table.add("A + B - B beside A", f"farthest values {apart:.1e}", passed=apart < 1e-5)
    out = work / "merged" / "refused"
    code, said = tunesmith("merge", a, wide, f"--out={out}")
    told = f"exit {code}: {said.get('message')} {said.get('hint')}"
    table.add("two ranks, linear", told, passed=code != 0 and "rank" in told and not out.exists())
    merged(table, work, "two ranks, cat", "fp32", a, wide, "--method=cat")
    file = alone / "model.safetensors"
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, 1)
        stream.write(bytes([byte ^ 0x40]))
    code, said = tunesmith("certify", str(alone))
    table.add("one flipped byte, certify", f"exit {code}: {said.get('message')}", passed=code == 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("families", nargs="*", choices=[[], *FAMILIES, "mix", "sums"])
    given = parser.parse_args()
    table, chosen = Table(), given.families or [*FAMILIES, "mix", "sums"]
    print(describe(), flush=True)
    for name in FAMILIES:
        if name in chosen:
            adapter = trained(name, given.work, given.steps)
            for dtype in LIMITS:
                out = merged(table, given.work, name, dtype, str(adapter))
                shutil.rmtree(out, ignore_errors=True)
    if "mix" in chosen:
        mixtures(table, given.work, given.steps)
    if "sums" in chosen:
        sums(table, given.work, given.steps)
    print("all passed" if not table.failed else f"not passed: {', '.join(table.failed)}")
    return 1 if table.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
