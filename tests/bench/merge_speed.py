"""Our merge against peft's merge_and_unload and against a copy of the same bytes, in turn.

    python -m tests.bench.merge_speed [--gigabytes 1.5] [--rounds 3] [--folder FOLDER] [--adapters 1]

A synthetic Llama in bf16, in files of at most 800 MB, and an adapter of rank 8 on all its linear layers. Each
program runs in a process of its own; counted is its work without its imports, its result on the disk (fsync).
The copy goes through its process in blocks of 16 MB. With --adapters 2 ours merges a sum of two; peft one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.machine import describe

ROOT = Path(__file__).parents[2]
PROGRAMS = ("copy", "own", "peft")
LEAVES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HIDDEN, INNER, WORDS, SHARD = 1536, 6144, 49152, 800_000_000


def make(folder: Path, gigabytes: float, adapters: int) -> None:
    """Write base and adapters; values are drawn once and shifted, so that making them takes seconds."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    layer = 3 * HIDDEN * INNER + 2 * HIDDEN * HIDDEN + 2 * HIDDEN * HIDDEN // 3
    layers = max(1, round((gigabytes * 1e9 / 2 - WORDS * HIDDEN) / layer))
    sizes = {"q_proj": (HIDDEN, HIDDEN), "o_proj": (HIDDEN, HIDDEN), "down_proj": (HIDDEN, INNER)}
    sizes |= {name: (HIDDEN // 3, HIDDEN) for name in ("k_proj", "v_proj")}
    sizes |= {name: (INNER, HIDDEN) for name in ("gate_proj", "up_proj")}
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, HIDDEN)}
    for n in range(layers):
        for name, shape in sizes.items():
            part = "mlp" if "_proj" in name and shape != (HIDDEN, HIDDEN) and INNER in shape else "self_attn"
            shapes[f"model.layers.{n}.{part}.{name}.weight"] = shape
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{n}.{norm}.weight"] = (HIDDEN,)
    shapes["model.norm.weight"] = (HIDDEN,)
    drawn = (torch.randn(WORDS * HIDDEN, generator=torch.Generator().manual_seed(0)) * 0.02).bfloat16()
    base = folder / "base"
    base.mkdir()
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=64,
        tie_word_embeddings=True,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(base)
    _write_shards(base, shapes, drawn, save_file)
    for number in range(adapters):
        _write_adapter(folder, number, shapes, save_file)


def _write_shards(base: Path, shapes: dict[str, tuple[int, ...]], drawn: Any, save: Any) -> None:
    files: list[dict[str, Any]] = [{}]
    used = 0
    for number, (name, shape) in enumerate(shapes.items()):
        count = 1
        for size in shape:
            count *= size
        if used + 2 * count > SHARD:
            files.append({})
            used = 0
        start = (number * 4097) % (len(drawn) - count + 1)
        files[-1][name] = drawn[start : start + count].view(shape).clone()
        used += 2 * count
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(files, 1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        save(tensors, base / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    total = sum(2 * t.numel() for tensors in files for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def _write_adapter(folder: Path, number: int, shapes: dict[str, tuple[int, ...]], save: Any) -> None:
    import torch
    from peft import LoraConfig

    out, random = folder / f"adapter{number}", torch.Generator().manual_seed(1 + number)
    config = LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=list(LEAVES),
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(folder / "base"),
        inference_mode=True,
    )
    config.save_pretrained(str(out))
    tensors = {}
    for name, shape in shapes.items():
        if name.removesuffix(".weight").rpartition(".")[2] in LEAVES:
            key = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(8, shape[1], generator=random) * 0.02
            tensors[f"{key}.lora_B.weight"] = torch.randn(shape[0], 8, generator=random) * 0.02
    save(tensors, out / "adapter_model.safetensors")


def copy(base: Path, adapters: list[Path], out: Path) -> float:
    """Copy all files of the base through this process."""
    began = time.perf_counter()
    out.mkdir()
    for path in base.iterdir():
        with open(path, "rb", buffering=0) as source, open(out / path.name, "wb", buffering=0) as target:
            while block := source.read(1 << 24):
                target.write(block)
            os.fsync(target.fileno())
    return time.perf_counter() - began


def own(base: Path, adapters: list[Path], out: Path) -> float:
    """Merge with ours."""
    from engine.runtime.merge import merge_adapter

    began = time.perf_counter()
    merge_adapter(adapters, out, check=False)
    return time.perf_counter() - began


def peft(base: Path, adapters: list[Path], out: Path) -> float:
    """Merge one adapter with peft, as its documentation shows it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    began = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    PeftModel.from_pretrained(model, adapters[0]).merge_and_unload().save_pretrained(out)
    for path in out.glob("*.safetensors"):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    return time.perf_counter() - began


def work(program: str, base: Path, out: Path, adapters: list[Path]) -> None:
    """Do one program's work and say what it took."""
    seconds = {"copy": copy, "own": own, "peft": peft}[program](base, adapters, out)
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.split("\n") if line.startswith("VmHWM"))
    used = time.process_time()
    told = {"seconds": seconds, "cpu_seconds": used, "peak_bytes": int(peak.split()[1]) * 1024}
    print(json.dumps(told))


def measure(program: str, folder: Path, adapters: int) -> dict[str, float]:
    """Run a program in a process of its own."""
    used = [folder / f"adapter{n}" for n in range(adapters if program == "own" else 1)]
    out = folder / f"out-{program}"
    command = [sys.executable, "-m", "tests.bench.merge_speed", "--work", program]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, str(folder / "base"), str(out), *map(str, used)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=dict(os.environ, HF_HUB_OFFLINE="1"),
    )
    whole = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.strip().split("\n")[-1])
    return {**found, "process_seconds": whole}


def equal_tensors(folder: Path) -> str:
    """Say how near our tensors are to peft's, which adds in the base's type."""
    import torch
    from safetensors import safe_open

    held: dict[str, dict[str, Path]] = {"own": {}, "peft": {}}
    for program, names in held.items():
        for path in (folder / f"out-{program}").glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                names |= dict.fromkeys(file.keys(), path)
    same, worst = 0, 0.0
    for name, path in held["peft"].items():
        with safe_open(path, "pt") as file:
            theirs = file.get_tensor(name)
        with safe_open(held["own"][name], "pt") as file:
            ours = file.get_tensor(name)
        same += bool(torch.equal(ours, theirs))
        worst = max(worst, float((ours.float() - theirs.float()).abs().max()))
    return f"{same} of {len(held['peft'])} tensors equal to peft's, largest difference {worst:.1e}"


def main() -> None:
    """Make the checkpoint, run all in turn, print ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--adapters", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        program, base, out, *adapters = chosen.work
        work(program, Path(base), Path(out), [Path(a) for a in adapters])
        return
    folder = Path(tempfile.mkdtemp(prefix="merge-speed-", dir=chosen.folder))
    programs = chosen.programs.split(",")
    try:
        print(describe())
        made = [sys.executable, "-c", "from tests.bench.merge_speed import make; from pathlib import Path; "]
        made[2] += f"make(Path({str(folder)!r}), {chosen.gigabytes}, {max(1, chosen.adapters)})"
        subprocess.run(made, check=True, cwd=ROOT, capture_output=True)
        size = sum(p.stat().st_size for p in (folder / "base").glob("*.safetensors"))
        print(f"{size / 1e9:.2f} GB")
        found: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
        for number in range(chosen.rounds):
            for name in programs:
                shutil.rmtree(folder / f"out-{name}", ignore_errors=True)
                found[name].append(measure(name, folder, chosen.adapters))
                _say(number + 1, name, found[name][-1], size)
        _ratios(found, folder, chosen.adapters)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _say(number: int, name: str, told: dict[str, float], size: int) -> None:
    print(
        f"round {number} {name}: {told['seconds']:.2f} s ({size / 1e9 / told['seconds']:.2f} GB/s), "
        f"with imports {told['process_seconds']:.2f} s, of the processors {told['cpu_seconds']:.2f} s, "
        f"peak {told['peak_bytes'] / 1e9:.2f} GB",
        flush=True,
    )


def _ratios(found: dict[str, list[dict[str, float]]], folder: Path, adapters: int) -> None:
    for other, goal in (("copy", "speed of copying, goal 0.4"), ("peft", "peft's time, goal 0.5")):
        if other in found and "own" in found:
            pairs = zip(found["own"], found[other], strict=True)
            shares = [a["seconds"] / b["seconds"] for a, b in pairs]
            shares = [1 / share for share in shares] if other == "copy" else shares
            print(
                f"ours at {statistics.median(shares):.2f} of {goal} ({min(shares):.2f} to {max(shares):.2f})"
            )
    if "peft" in found and "own" in found and adapters == 1:
        print(equal_tensors(folder))


if __name__ == "__main__":
    main()
