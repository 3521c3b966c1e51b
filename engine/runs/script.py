"""A run as one Python file of plain torch, transformers and peft that repeats it, for readers of a paper.

The script reads the same files where a few lines of Python can; else the run's token rows lie beside it. It
compares its rows with those of the run before it trains, so it never trains on others unnoticed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.jobs.process import child_environment
from engine.models.weight_files import read_json
from engine.recipe.method_names import method_words
from engine.recipe.schedules import warmup_of
from engine.runs import script_model
from engine.runs import script_parts as parts
from engine.runs.script_data import DataPart, rows_file, rows_kept, rows_read
from engine.runs.script_facts import RunFacts, read_run
from engine.runs.script_text import assign, paragraph, words

CHECK_SECONDS = 900.0
ROWS_SUFFIX = ".rows.safetensors"
FILES_DIFFER = "its files changed since, or are read in ways that a short script does not know"


def write_script(run: Path, out: Path, *, check: bool = True) -> dict[str, Any]:
    """Write the script of a run's folder to `out`; with `check` let it compare its rows with the run's.

    Returns {"out", "bytes", "verified", "files", "rows": "read" or "kept", "reason"}; where the rows come out
    otherwise, or the files cannot be read in a few lines, the run's token rows are put beside the script.
    Raises EngineError REC-01 for what no script can repeat, RUN-05 for a run that has not begun.
    """
    facts = read_run(run)
    _refuse_existing(out)
    part = rows_read(facts)
    verified = False
    if isinstance(part, DataPart):
        _write(out, compose(facts, part, out.name))
        verified = not check or _checks(out)
        part = part if verified else FILES_DIFFER
    files = [out]
    if not isinstance(part, DataPart):
        rows = out.with_name(out.stem + ROWS_SUFFIX)
        _write(rows, rows_file(facts.rows))
        part = rows_kept(facts, rows.name, part)
        _write(out, compose(facts, part, out.name))
        files.append(rows)
        verified = not check or _checks(out)
    return {
        "out": str(out),
        "bytes": sum(file.stat().st_size for file in files),
        "verified": check and verified,
        "files": [str(file) for file in files],
        "rows": "read" if part.tokenises else "kept",
        "reason": part.why,
    }


def _refuse_existing(out: Path) -> None:
    for path in (out, out.with_name(out.stem + ROWS_SUFFIX)):
        if path.exists():
            raise EngineError(
                f"{paths.show_name(str(path), 200)} exists already.",
                "Choose another name, or remove it first.",
                "DISK-02",
                file=str(path),
            )


def _write(path: Path, content: str | bytes) -> None:
    try:
        durable.make_folder(path.parent)
        durable.write_file(path, content)
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def _checks(script: Path) -> bool:
    """Let the script prepare its rows in a child that knows nothing of us; say whether they are the run's."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-X", "utf8", str(script.resolve()), "--check"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=paths.neutral_folder(),
            env=child_environment(),
            timeout=CHECK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


# -- the text ------------------------------------------------------------------------------------------------
def compose(run: RunFacts, data: DataPart, name: str) -> str:
    """Return the whole script."""
    recipe = run.recipe
    code = [*data.code, parts.DIGEST, *_order(run)]
    if recipe.training.optim == "muon":
        code.append(script_model.MATRICES_OF)
    elif script_model.several_groups(recipe):
        code.append(script_model.GROUPS_OF)
    model = script_model.base_source(recipe, _dtype(run), run.device)
    full = recipe.adapter.method == "full"
    code += [model, parts.LOSS_AUTOCAST if full and run.dtype == "bfloat16" else parts.LOSS]
    if run.rows.validation:
        code.append(parts.VALIDATION)
    head = [_head(run, data, name), _imports(run, data), "\n".join(_constants(run, data))]
    body = [text.strip("\n") for text in code]
    return "\n\n".join(head) + "\n\n\n" + "\n\n\n".join([*body, _main(run)]) + parts.MAIN_END


def _dtype(run: RunFacts) -> str:
    """Return the numbers the base is held in; one that is trained whole is held in float32."""
    if run.recipe.adapter.method == "full":
        return "float32"
    return run.dtype if run.recipe.model.dtype == "auto" else run.recipe.model.dtype


def _order(run: RunFacts) -> list[str]:
    data = run.recipe.data
    order = parts.ORDER if data.shuffle else parts.ORDER_FILE
    if not data.packing:
        return [order, parts.STEPS]
    return [order, parts.PACK if data.shuffle else parts.PACK_FILE, parts.STEPS_PACKED]


def _main(run: RunFacts) -> str:
    recipe = run.recipe
    lines = parts.MAIN_START
    if script_model.start_kept(recipe):
        lines += "    model.save_pretrained(START)\n"
    lines += script_model.optimizer_source(recipe) + "\n"
    lines += script_model.schedule_source(recipe, run.steps) + "\n"
    loop = parts.MAIN_LOOP
    best = recipe.training.load_best_model_at_end and bool(run.rows.validation)
    if not best:
        loop = loop.replace("    best, kept = math.inf, []\n", "")
    lines += loop
    if recipe.training.max_grad_norm:
        lines += parts.CLIP
    lines += parts.MAIN_STEP_TWO if recipe.training.optim == "muon" else parts.MAIN_STEP
    lines += parts.MAIN_TELL
    if run.rows.validation:
        lines += parts.MAIN_MEASURE
    if best:
        lines += parts.MAIN_BEST
    saved = "OUT"
    if script_model.start_kept(recipe):
        saved = "OUT, path_initial_model_for_weight_conversion=START"
    return f"{lines.strip(chr(10))}\n    model.save_pretrained({saved})"


def _constants(run: RunFacts, data: DataPart) -> list[str]:
    recipe, training = run.recipe, run.recipe.training
    packed = "packs" if recipe.data.packing else "rows"
    lines = [
        "# Base and data.",
        assign("BASE", _base(run)),
        *([assign("REVISION", recipe.model.revision)] if recipe.model.revision else []),
        *data.constants,
        assign("MAX_LENGTH", recipe.data.max_length, "tokens"),
        assign("ROWS_SHA256", run.digest),
        "# Training.",
        assign("SEED", training.seed),
        assign("BATCH", run.batch, packed),
        assign("ACCUMULATION", training.gradient_accumulation_steps, "batches in an optimizer step"),
        assign("STEPS", run.steps),
        assign("LAST_STEP", run.last_step, "the run ended early")
        if run.last_step < run.steps
        else "LAST_STEP = STEPS",
        assign("WARMUP_STEPS", warmup_of(training, run.steps)),
        assign("LEARNING_RATE", training.learning_rate),
        assign("WEIGHT_DECAY", training.weight_decay),
    ]
    if script_model.several_groups(recipe) and training.optim != "muon":
        lines.append(assign("LORAPLUS_RATIO", training.loraplus_lr_ratio or 1.0, "rate of B to that of A"))
    if training.max_grad_norm:
        lines.append(assign("MAX_GRAD_NORM", training.max_grad_norm))
    if run.rows.validation:
        lines.append(assign("EVAL_STEPS", run.eval_steps, "and after the last step"))
    lines.append(
        assign("OUT", "model" if recipe.adapter.method == "full" else "adapter", "a folder, made here")
    )
    if recipe.adapter.path is not None:
        lines.append(assign("BEGINS_FROM", recipe.adapter.path, "the adapter's folder"))
        lines.append(assign("BEGINS_FROM_SHA256", run.begins_from))
    if script_model.start_kept(recipe):
        lines.append('START = str(Path(OUT).resolve() / "start")  # what the adapter begins with')
    if recipe.adapter.method != "full":
        lines.append(script_model.adapter_source(recipe, run.facts))
    lines.append('device = torch.device("cuda" if torch.cuda.is_available() else "cpu")')
    if data.tokenises:
        revision = ", revision=REVISION" if recipe.model.revision else ""
        lines += [
            f"tokenizer = AutoTokenizer.from_pretrained(BASE{revision})",
            *(["tokenizer.chat_template = TEMPLATE"] if data.chat else []),
            "# It would leave blanks out of where a token stands in the text.",
            "tokenizer.backend_tokenizer.post_processor = None",
        ]
    return lines


def _base(run: RunFacts) -> str:
    """Return the hub id a recipe names, else the folder that the run's base lies in."""
    return run.recipe.model.path if _is_hub_id(run) else str(run.model)


def _is_hub_id(run: RunFacts) -> bool:
    named = run.recipe.model.path
    return named.count("/") == 1 and not Path(named).is_absolute() and not Path(named).exists()


def _imports(run: RunFacts, data: DataPart) -> str:
    """Return the import lines, sorted as isort does: plain ones of the standard library first."""
    recipe = run.recipe
    plain = {"hashlib", "itertools", "sys", *(i for i in data.imports if " " not in i)}
    taken = {i for i in data.imports if i.startswith("from bisect")}
    if run.recipe.data.shuffle:
        plain.add("random")
    if recipe.training.load_best_model_at_end and run.rows.validation:
        plain.add("math")
    if script_model.several_groups(recipe):
        plain.add("re")
    if recipe.data.packing and recipe.data.shuffle:
        names = ["bisect_left", *(["bisect_right"] if taken else []), "insort"]
        taken = {f"from bisect import {', '.join(names)}"}
    path = [] if not _needs_path(run, data) else ["from pathlib import Path"]
    lines, names = script_model.imports_of(recipe)
    if data.tokenises:
        names.append("AutoTokenizer")
    whole = ", ".join(sorted(names, key=lambda n: (not n.isupper(), n.lower() if n[0].islower() else "", n)))
    others = [line for line in lines if line.startswith("from")]
    first = [line for line in lines if line.startswith("import")]
    begun = ["import safetensors.torch"] if recipe.adapter.path is not None else []
    third = [*first, "import numpy as np", *begun, "import torch", "import torch.nn.functional as F", *others]
    third += sorted(i for i in data.imports if i.startswith("from safetensors"))
    listed = f"from transformers import {whole}"
    if len(listed) > 88:
        listed = "from transformers import (\n" + "".join(f"    {n},\n" for n in whole.split(", ")) + ")"
    return "\n".join([*(f"import {i}" for i in sorted(plain)), *sorted(taken), *path, "", *third, listed])


def _needs_path(run: RunFacts, data: DataPart) -> bool:
    begun = run.recipe.adapter.path is not None or script_model.start_kept(run.recipe)
    return not data.tokenises or parts.READ_JSON in data.code or begun


def _head(run: RunFacts, data: DataPart, name: str) -> str:
    needs = ["torch", "transformers", *(["peft"] if run.recipe.adapter.method != "full" else [])]
    if any("bitsandbytes" in line for line in script_model.imports_of(run.recipe)[0]) or _quantised(run):
        needs.append("bitsandbytes")
    listed = " ".join(f"{n}=={words(run.versions[n])}" if n in run.versions else n for n in needs)
    listed = re.sub(r"\+\w+", "", listed)  # torch's own build is chosen by pip
    name, base = words(name), words(_base(run) if _is_hub_id(run) else run.model.name)
    about = f"{method_words(run.recipe)} on {base}, {run.last_step} steps"
    lines = [
        '"""Repeat a finetuning run with plain torch and transformers.',
        "",
        paragraph(f"Run:    {words(run.recipe.name or run.folder.name)} ({words(about)})", "", "        "),
        paragraph(f"Needs:  pip install {listed} numpy", "", "        "),
        f"Use:    python {name}          trains, tells each step's loss, saves to OUT",
        f"        python {name} --check  only compares the rows with those of the run",
        "",
        paragraph(
            "Rows, their order, the adapter's start, optimizer and schedule are those of the run: in float32 "
            "on a CPU the loss of each step agrees within 1e-4."
        ),
        *(paragraph(f"- {note}", "", "  ") for note in _notes(run, data)),
        '"""',
    ]
    return "\n".join(lines)


def _quantised(run: RunFacts) -> bool:
    return run.recipe.model.load_in_4bit or run.recipe.model.load_in_8bit


def _notes(run: RunFacts, data: DataPart) -> list[str]:
    recipe, found = run.recipe, []
    if _drops(run):
        found.append("Dropout: its random streams differ from the run's, so losses agree only on average.")
    if run.dtype != "float32" or run.device != "CPU" or _quantised(run):
        found.append(
            f"The run computed in {words(run.dtype)} on {words(run.device)}: losses are near, not equal."
        )
    if recipe.launcher.processes > 1:
        found.append(
            f"{recipe.launcher.processes} processes shared each step of the run; here one takes it whole."
        )
    if recipe.training.use_liger_kernel:
        found.append("The run used Liger kernels: the same sums in another order.")
    if not data.tokenises:
        found.append(f"The run's token rows lie in a file beside this one: {data.why}.")
    return found


def _drops(run: RunFacts) -> bool:
    """Return whether adapter or base drop values at random while training."""
    if run.recipe.adapter.method in ("lora", "vera") and run.recipe.adapter.lora_dropout:
        return True
    config = read_json(run.model / "config.json")
    return any("drop" in k and isinstance(v, float) and v > 0 for k, v in config.items())
