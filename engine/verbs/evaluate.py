"""The verb `evaluate`: measure a run, an adapter or a model, or say what there is to measure with."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from engine.benchmarks.spec import GENERAL, HELD_OUT, LM_EVAL, OWN_TESTS, benchmarks, parts_of, refuse_unknown
from engine.errors import EngineError
from engine.events import Failed, Progress
from engine.jobs import process
from engine.runs import benchmark_rows, evaluations, gpu_gate, start_gate
from engine.runs.evaluations import Comparison, Results, Score
from engine.verbs import follow
from engine.verbs.spoken import note, say

Answer = dict[str, Any] | int


def evaluate(args: Namespace) -> Answer:
    """Measure a target in a child and tell its scores; Ctrl-C keeps the answers that are there."""
    if args.list:
        return {"benchmarks": described()}
    if args.target is None:
        raise EngineError(
            "No target is named.", "Name a run, an adapter or a model; or use --list.", "REC-01"
        )
    from engine.runtime.target import resolve_target

    target = resolve_target(args.target)
    environment = place(args.device, anyway=args.anyway)
    data = Path(args.data).expanduser().resolve() if args.data else None
    names = _names(args, target.run, data)
    has_two = target.adapter is not None or target.origin is not None
    folder = evaluations.create_evaluation(
        str(_absolute(args.target)),
        names,
        run=target.run,
        base_too=has_two and (args.base_too or GENERAL in names),
        data=data,
        limit=args.limit,
    )
    return _follow(folder, args.json, environment)


def place(device: str, *, anyway: bool) -> dict[str, str]:
    """Return the environment of a child that answers; raises EngineError GPU-04 while a job has the GPU."""
    if device == "cpu":
        return gpu_gate.ON_CPU
    return start_gate.let_through(gpu_gate.examine(), anyway=anyway)


def tell_of_the_cpu() -> None:
    """Say where somebody works on the GPU: the CPU answers then (GPU-04)."""
    stop = gpu_gate.examine().stop()
    if stop is not None:
        note(f"{stop.code}: {stop.message} The CPU answers; --device cuda shares the GPU.")


def described() -> list[dict[str, Any]]:
    """Return the benchmarks there are, and whether their questions are on this computer."""
    found = [
        {
            "name": each.name,
            "label": each.label,
            "about": each.about,
            "kind": each.kind,
            "metrics": list(each.metrics),
            "licence": each.licence,
            "here": benchmark_rows.is_at_hand(each),
            "from": each.source.hub or ("your run" if each.form == "rows" else "here"),
        }
        for each in benchmarks().values()
    ]
    about = "All general tasks together, before and after: what was forgotten."
    found.append({"name": GENERAL, "label": "General set", "about": about, "kind": "set", "here": True})
    return found


def _absolute(text: str) -> str | Path:
    path = Path(text).expanduser()
    return path.resolve() if path.exists() else text


def _names(args: Namespace, run: Path | None, data: Path | None) -> list[str]:
    """Return the benchmarks that are asked for, or what suits the target; refuses what cannot be."""
    if data is not None and not data.exists():
        raise EngineError(f"{args.data} does not exist.", "Check the name.", "DATA-12", file=str(data))
    if args.limit is not None and args.limit < 1:
        raise EngineError(f"--limit {args.limit}: nothing would be asked.", "Use 1 or more.", "REC-01")
    names = list(dict.fromkeys(args.benchmark))
    if not names:
        return [OWN_TESTS] if data is not None else [HELD_OUT] if run is not None else [GENERAL]
    refuse_unknown(names)
    if data is None:
        _refuse_absent(names)
    if data is not None and data.is_file() and len(names) > 1:
        raise EngineError(
            "One file cannot stand for several benchmarks.",
            "Name one benchmark, or a folder that holds a file of each.",
            "REC-01",
        )
    return names


def _refuse_absent(names: list[str]) -> None:
    """Refuse where none of the benchmarks is on disk; among others one is left out and told."""
    problems = []
    for name in names:
        parts = () if name.startswith(LM_EVAL) else parts_of(name)
        for part in parts:
            if part.source.hub and not benchmark_rows.is_at_hand(part):
                problems.append(part)
    if len(problems) == len(names):
        benchmark_rows.locate(problems[0], None)


def _follow(folder: Path, as_json: bool, environment: dict[str, str]) -> Answer:
    child = process.start(folder, environment=environment)
    follower = _Follower(folder, as_json)
    try:
        code = follower.until_end(lambda: child.poll() is None)
    except KeyboardInterrupt:
        process.send(folder, "stop")
        follower.until_end(lambda: child.poll() is None)
        return 130
    if code != 0:
        failed = follower.last
        assert isinstance(failed, Failed)
        raise follow.CrashError(failed.message, failed.hint, failed.code)
    results = evaluations.read_evaluation(folder).results
    if results is None:
        return code  # stopped by somebody else
    answer = {"evaluation": folder.name, "folder": str(folder), **results.model_dump(mode="json")}
    if as_json:
        return answer
    say(told(results))
    say(folder)
    return 0


class _Follower(follow.Follower):
    """Shows how far an evaluation has come; with JSON only its end is told."""

    def show(self) -> list[Any]:
        """Print what is new, and return it."""
        events = self._reader.read_new()
        for event in events:
            if event.type in ("finished", "stopped", "failed"):
                self.last = event
            elif event.type == "started":
                self.last = None
            elif isinstance(event, Progress) and not self._as_json:
                note(f"{event.stage}: {event.done}/{event.total}")
            elif event.type == "warned" and not self._as_json:
                note(follow.say(event))
        return events


def told(results: Results) -> str:
    """Return results as text: scores, base against adapter, what was forgotten."""
    lines = [_score(score) for score in results.scores]
    lines += [_comparison(each) for each in results.comparisons]
    if results.forgetting is not None:
        lines.append(f"forgetting: {results.forgetting.state}. {results.forgetting.message}")
    lines += [f"{each.benchmark}: left out. {each.message} {each.hint}" for each in results.left_out]
    return "\n".join(lines)


def _score(score: Score) -> str:
    error = "" if score.stderr is None else f" ± {score.stderr:.4f}"
    return f"{score.benchmark:22} {score.metric:14} {score.target:8} {score.value:.4f}{error}  n {score.n}"


def _comparison(each: Comparison) -> str:
    change = (
        f"{each.base:.4f} -> {each.adapter:.4f}, {each.difference:+.4f} [{each.low:+.4f}, {each.high:+.4f}]"
    )
    moved = (
        f", {each.wrong_to_right} became right, {each.right_to_wrong} wrong"
        if each.p_value is not None
        else ""
    )
    return f"{each.benchmark:22} {each.metric:14} {change}: {each.verdict}{moved}"
