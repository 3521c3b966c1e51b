"""What trials come to in words: measured beside planned, and whether 4-bit weights are worth it here."""

from __future__ import annotations

from engine.runs.probe import Outcome

LEAST_SAVING = 0.05  # of the memory: less is no reason to take 4-bit weights
SAME_SPEED = 0.05
SAME_LOSS = 0.02  # of the loss: what 20 steps of one seed cannot tell apart
ROOMY = 0.92  # of the device: beyond it a plan is called tight


def measured_words(outcome: Outcome) -> str:
    """Return one trial in a sentence or two."""
    if outcome.cancelled:
        return "Cancelled; nothing was kept."
    if outcome.problem:
        return f"{outcome.problem} {outcome.hint}".strip()
    words = []
    if outcome.memory_bytes and outcome.predicted_memory_bytes:
        measured, foreseen = outcome.memory_bytes, outcome.predicted_memory_bytes
        words.append(
            f"Memory: {measured / 1e9:.2f} GB measured, {foreseen / 1e9:.2f} GB planned "
            f"({100 * (measured / foreseen - 1):+.0f}\u00a0%)."
        )
    if outcome.tokens_per_second and outcome.predicted_tokens_per_second:
        measured, foreseen = outcome.tokens_per_second, outcome.predicted_tokens_per_second
        words.append(f"Speed: {measured:,.0f} tokens/s measured, {foreseen:,.0f} planned.")
    return " ".join(words) or f"{outcome.steps} steps are too few to measure anything; take 8 or more."


def compare(lora: Outcome, qlora: Outcome, room: float | None = None) -> str:
    """Return which of the two to take and why; `room` is the memory of the device in bytes."""
    if lora.cancelled or qlora.cancelled:
        return "Cancelled before both had run: there is nothing to compare."
    if qlora.problem:
        return f"Take LoRA: 4-bit weights do not work here. {qlora.problem} {qlora.hint}".strip()
    if lora.problem:
        return f"Take QLoRA: with the base in full numbers it does not run. {lora.problem}".strip()
    if not (lora.process_bytes and qlora.process_bytes and lora.memory_bytes and qlora.memory_bytes):
        return "Too few steps to compare; take 8 or more."
    saved = 1 - qlora.memory_bytes / lora.memory_bytes
    differences = [_memory(saved), *_speed(lora, qlora), *_loss(lora, qlora)]
    said = f"QLoRA {', '.join(differences)}."
    if saved < LEAST_SAVING:
        return f"Take LoRA: 4-bit weights save nothing that matters here. {said}"
    if room is not None:
        full = lora.process_bytes / room
        if full > ROOMY:
            return f"Take QLoRA: LoRA fills {100 * full:.0f}\u00a0% of the memory. {said}"
        return f"Take LoRA: it fits, with {100 * (1 - full):.0f}\u00a0% of the memory left. {said}"
    return f"LoRA where the memory is there, QLoRA where it is not. {said}"


def _memory(saved: float) -> str:
    return f"takes {100 * abs(saved):.0f}\u00a0% {'less' if saved >= 0 else 'more'} memory"


def _speed(lora: Outcome, qlora: Outcome) -> list[str]:
    if not (lora.tokens_per_second and qlora.tokens_per_second):
        return []
    share = qlora.tokens_per_second / lora.tokens_per_second - 1
    if abs(share) < SAME_SPEED:
        return ["is as fast"]
    return [f"is {100 * abs(share):.0f}\u00a0% {'slower' if share < 0 else 'faster'}"]


def _loss(lora: Outcome, qlora: Outcome) -> list[str]:
    if lora.loss is None or qlora.loss is None:
        return []
    more = qlora.loss - lora.loss
    if abs(more) < SAME_LOSS * lora.loss:
        return ["has the same loss as far as so few steps can tell"]
    return [f"has a loss {abs(more):.3f} {'higher' if more > 0 else 'lower'} after {qlora.steps} steps"]
