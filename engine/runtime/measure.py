"""What a run shows of itself on the way: loss over validation, and answers to the sample prompts."""

from __future__ import annotations

import math

from engine.events import Evaluated, Log, SampleGenerated, Warned
from engine.runtime import early, evaluate, evidence, memory
from engine.runtime.keep import save
from engine.runtime.training import Training


def measure(run: Training, *, scheduled: bool = True) -> float | None:
    """Evaluate on validation and answer the prompts; a new best is saved at once. None without a result.

    `scheduled` is False for an evaluation that a person asked for: early stopping does not count it.
    """
    loss = None
    run.job.phase("evaluate")
    run.model.eval()
    if run.data.validation:
        loss = evaluate.validation_loss(run)
        if loss is not None:
            early.count(run, loss, scheduled=scheduled)
            is_best = math.isfinite(loss) and (run.best_loss is None or loss < run.best_loss)
            if is_best:
                run.best_loss, run.best_step = loss, run.step
            run.job.write(
                Evaluated(
                    step=run.step,
                    loss=loss,
                    perplexity=math.exp(min(loss, 50.0)),
                    is_best=is_best,
                    metrics={},
                )
            )
    elif not scheduled:
        run.job.write(Log(message="There is nothing to validate with: only the sample prompts are answered."))
    if loss is not None or not run.data.validation:
        run.owes_evaluation = False
        evidence.measure_effect(run)
        sample(run)
        run.job.seal()
    run.model.train()
    run.job.phase("train")
    if loss is not None and run.best_step == run.step:
        save(run)
    return loss


def sample(run: Training, *, base: bool = False, extra: evaluate.Prompt | None = None) -> None:
    """Answer the sample prompts as the model stands; with `base`, as it was before training (step 0)."""
    run.job.phase("sample")
    run.model.eval()
    for prompt in run.prompts if extra is None else [extra]:
        run.job.requests.poll()
        if run.job.requests.stop:
            break
        # Before the first step the model is the base, also where switching the adapter off would not be.
        said = _answer(run, prompt, base=base and run.step > 0)
        if said is None:
            continue
        run.job.write(
            SampleGenerated(
                step=0 if base else run.step,
                prompt=prompt.text,
                text=said.text,
                tokens=said.tokens,
                limit=evaluate.SAMPLE_TOKENS,
                ended=said.ended,
                expected_tokens=prompt.answer_tokens,
            )
        )
    run.model.train()
    run.job.phase("train")


def _answer(run: Training, prompt: evaluate.Prompt, *, base: bool) -> evaluate.Said | None:
    """Return an answer; None, with a warning, where there was no memory for it: training does not need it."""
    try:
        said: evaluate.Said = evaluate.answer(run, prompt, base=base)
        return said
    except memory.ERRORS as error:
        if not memory.ran_out(error):
            raise
    memory.free(run.compute.device)
    run.job.write(
        Warned(
            code="GPU-01",
            message=f"Memory ran out at step {run.step}, while answering a sample prompt.",
            hint="It is left out; training goes on.",
        )
    )
    return None


def base_is_at_hand(run: Training) -> bool:
    """Return whether the model without its adapter is the untouched base, in the middle of training."""
    options = run.recipe.adapter
    moved = options.method == "full" or options.init_lora_weights in ("pissa", "olora")
    return not moved and options.bias == "none"
