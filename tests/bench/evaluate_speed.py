"""Choice scoring against padded batches, as lm-evaluation-harness has them, and against lm-eval itself.

usage: python -m tests.bench.evaluate_speed DATA [--model starter] [--items 40] [--rounds 3] [--lm-eval]
DATA holds the folders bench_arc, bench_blimp_causative, bench_mmlu_global_facts and bench_truthfulqa. The two
ways score the same tokens in turn, round by round; ratios are those of each round. --lm-eval lets lm-eval
itself (to be installed) put its own prompts to the same rows, and compares predictions and likelihoods: the
first --items rows and all of BLiMP; with --all all rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "passive"  # as in every child; read when torch loads its threads

import torch

from engine.benchmarks.questions import Question
from engine.benchmarks.scoring import Likelihood, judge_choice
from engine.benchmarks.spec import Benchmark, benchmarks
from engine.data.readers import read_rows
from engine.data.rows import Row
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.models.library import resolve_model
from engine.recipe.recipe import ModelOptions
from engine.runs.benchmark_rows import locate, questions_for
from engine.runtime.benchmark_likelihoods import Likelihoods
from engine.runtime.benchmark_prompts import Prompter
from engine.runtime.benchmark_tree import Asked, head_of
from engine.runtime.load import choose_compute, load_base
from tests.bench.machine import describe

ROWS = 16  # of a padded batch
FOLDERS = {
    "mmlu-global-facts": "bench_mmlu_global_facts",
    "arc-challenge": "bench_arc",
    "truthfulqa-mc1": "bench_truthfulqa",
    "blimp-causative": "bench_blimp_causative",
}
Scored = list[list[float]]


@torch.inference_mode()
def padded(model: Any, asked: Sequence[Sequence[Asked]]) -> Scored:
    """Score as lm-eval does: every ending with its whole question, sorted by length, padded, all scores."""
    requests = [(i, j, each) for i, endings in enumerate(asked) for j, each in enumerate(endings)]
    requests.sort(key=lambda r: -len(r[2].ids))
    found = [[0.0] * len(endings) for endings in asked]
    for start in range(0, len(requests), ROWS):
        part = requests[start : start + ROWS]
        rows = [torch.tensor(list(each.ids[:-1])) for _, _, each in part]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        scores = model(ids, use_cache=False).logits.float().log_softmax(-1)
        for row, (i, j, each) in zip(scores, part, strict=True):
            found[i][j] = sum(float(row[place - 1, each.ids[place]]) for place in each.scored)
    return found


@torch.inference_mode()
def plain(model: Any, each: Asked) -> float:
    """Return an ending's log-likelihood by a forward of its own, its scores normalised in float64."""
    scores = model(torch.tensor([list(each.ids)]), use_cache=False).logits[0].double().log_softmax(-1)
    return sum(float(scores[place - 1, each.ids[place]]) for place in each.scored)


class Side:
    """A loaded model, and questions of a benchmark as its tokens."""

    def __init__(self, name: str) -> None:
        folder = resolve_model(name)
        self.folder = folder
        self.model = load_base(folder, ModelOptions(path=str(folder)), choose_compute()).eval()
        self.likelihoods = Likelihoods(self.model)
        self.prompter = Prompter(ModelTokenizer(folder), load_template(folder))

    def asked(self, benchmark: Benchmark, questions: Sequence[Question]) -> list[list[Asked]]:
        """Return what is asked of each question."""
        return [self.prompter.endings(benchmark, question) for question in questions]

    def own(self, asked: Sequence[Sequence[Asked]]) -> list[list[Likelihood]]:
        """Score with what is shared computed once; the head anew each time, as for a fresh benchmark."""
        self.likelihoods.forget()
        return self.likelihoods.of(asked, head=head_of(asked))


def speed(side: Side, data: Path, items: int, rounds: int) -> None:
    """Print how much faster the shared way is, by benchmark."""
    cases = [
        ("one-token answers, no examples", "mmlu-global-facts", {"shots": 0}),
        ("one-token answers, five examples", "mmlu-global-facts", {}),
        ("sentence endings", "arc-challenge", {}),
        ("sentence endings, six examples", "truthfulqa-mc1", {}),
    ]
    for label, name, change in cases:
        benchmark = benchmarks()[name].model_copy(update=change)
        fewer = items if benchmark.shots == 0 and not benchmark.before[:2] == "Q:" else max(4, items // 5)
        questions = questions_for(benchmark, data / FOLDERS[name], None, fewer)
        asked = side.asked(benchmark, questions)
        ratios, times = [], []
        gap = 0.0
        for _ in range(rounds):
            theirs, first = timed(lambda asked=asked: padded(side.model, asked))
            ours, second = timed(lambda asked=asked: side.own(asked))
            ratios.append(first / second)
            times.append((first, second))
            assert len(theirs) == len(ours)
            gap = max(
                gap, *(abs(plain(side.model, a) - b.total) for a, b in zip(asked[0], ours[0], strict=True))
            )
        print(
            f"{label} ({name}, {len(questions)} questions): {statistics.median(ratios):.2f} x "
            f"({min(ratios):.2f} to {max(ratios):.2f}); {statistics.median(t for t, _ in times):.1f} and "
            f"{statistics.median(t for _, t in times):.1f} s; within {gap:.1e} of a plain forward",
            flush=True,
        )


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what some work gives and the seconds it took."""
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def hub_rows(name: str, file: Path) -> list[dict[str, Any]]:
    """Return rows of a file as the hub has them, which is the form that lm-eval reads."""
    rows = [list(row.value.values()) if name.startswith("mmlu") else dict(row.value) for row in _values(file)]
    if name.startswith("mmlu"):
        return [{"question": r[0], "choices": r[1:5], "answer": "ABCD".index(r[5])} for r in rows]
    if name.startswith("arc"):
        return [_arc(row) for row in rows]
    if name.startswith("truthfulqa"):
        return [{"question": row["question"], "mc1_targets": _targets(row["mc1_targets"])} for row in rows]
    return [{k: row[k] for k in ("sentence_good", "sentence_bad")} for row in rows]


def _values(file: Path) -> list[Any]:
    from engine.data.options import ReadOptions

    header = False if file.suffix == ".csv" else None
    return [row for row in read_rows(file, ReadOptions(header=header)) if isinstance(row, Row)]


def _arc(row: dict[str, Any]) -> dict[str, Any]:
    choices = row["question"]["choices"]
    lists = {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]}
    return {"question": row["question"]["stem"], "choices": lists, "answerKey": row["answerKey"]}


def _targets(targets: dict[str, int]) -> dict[str, list[Any]]:
    return {"choices": list(targets), "labels": list(targets.values())}


def against_lm_eval(side: Side, data: Path, items: int | None) -> None:
    """Print how predictions and likelihoods compare with lm-eval's own on the same rows."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    model = HFLM(pretrained=side.model, tokenizer=AutoTokenizer.from_pretrained(side.folder), batch_size=ROWS)
    for name, folder in FOLDERS.items():
        benchmark = benchmarks()[name]
        limit = None if name.startswith("blimp") else items
        questions = questions_for(benchmark, data / folder, None, limit)
        ours, own_seconds = timed(lambda b=benchmark, q=questions: side.own(side.asked(b, q)))
        file, shots = locate(benchmark, data / folder)
        with tempfile.TemporaryDirectory() as place:
            task = _task(name, hub_rows(name, file), hub_rows(name, shots) if shots else None, Path(place))
            told, seconds = timed(
                lambda task=task, shots=benchmark.shots, limit=limit: simple_evaluate(
                    model=model,
                    tasks=[task],
                    num_fewshot=shots,
                    limit=limit,
                    log_samples=True,
                    bootstrap_iters=0,
                )
            )
        samples = sorted(next(iter(told["samples"].values())), key=lambda s: s["doc_id"])
        theirs = [[float(r[0]) for r in sample["filtered_resps"]] for sample in samples]
        same = sum(_best([x.total for x in a]) == _best(b) for a, b in zip(ours, theirs, strict=True))
        gap = max(
            abs(x.total - y) for a, b in zip(ours, theirs, strict=True) for x, y in zip(a, b, strict=True)
        )
        judged = [judge_choice(benchmark, q, a) for q, a in zip(questions, ours, strict=True)]
        scores = {m: statistics.fmean(j.values[m] for j in judged) for m in benchmark.metrics}
        their_scores = {m: next(iter(told["results"].values())).get(f"{m},none") for m in benchmark.metrics}
        print(
            f"{name}: {same} of {len(questions)} predictions the same as lm-eval's, likelihoods within "
            f"{gap:.1e}; {scores} and {their_scores}; {own_seconds:.1f} and {seconds:.1f} s",
            flush=True,
        )


def _task(name: str, rows: list[dict[str, Any]], shots: list[dict[str, Any]] | None, place: Path) -> str:
    """Return lm-eval's own task with a local file in the place of the hub's."""
    split = {"truthfulqa-mc1": "validation", "blimp-causative": "train"}.get(name, "test")
    files = {}
    for which, held in ((split, rows), ("dev", shots)):
        if held is not None:
            files[which] = str(place / f"{which}.jsonl")
            Path(files[which]).write_text("".join(json.dumps(row) + "\n" for row in held))
    from lm_eval.tasks import TaskManager

    own = TaskManager().task_index[name.replace("-", "_")].yaml_path
    spec = {
        "include": str(own),
        "task": f"{name.replace('-', '_')}_local",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(place / "cache")},
        "training_split": None,
        **({"validation_split": None} if split == "test" else {}),
    }
    (place / "task.yaml").write_text(json.dumps(spec))
    return str(place / "task.yaml")


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: values[i])


def main() -> None:
    """Print the machine and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lm-eval", action="store_true")
    parser.add_argument("--all", action="store_true")
    chosen = parser.parse_args()
    side = Side(chosen.model)
    print(f"{describe()}, {torch.get_num_threads()} threads, tree {side.likelihoods.tree}", flush=True)
    if chosen.rounds:
        speed(side, chosen.data, chosen.items, chosen.rounds)
    if chosen.lm_eval:
        against_lm_eval(side, chosen.data, None if chosen.all else chosen.items)


if __name__ == "__main__":
    main()
