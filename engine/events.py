"""What a job says while it lives: one typed event a line of `events.jsonl`.

The union `Event` and the two functions `encode` and `decode` are the whole contract; a type that is
not known here is kept as `Unknown`, never an error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.event_lines import MAX_LINE_BYTES as MAX_LINE_BYTES
from engine.event_lines import encode as encode

Count = Annotated[int, Field(ge=0, le=2**53)]  # what a float holds exactly: a log may come from anybody


class _Event(BaseModel):
    """Fields every event has; the writer fills them in."""

    model_config = ConfigDict(frozen=True, extra="allow")
    time: float = 0.0
    mono: float = 0.0
    attempt: int = 1
    seq: int = 0


class Started(_Event):
    """The child holds the lock; `resumed_from_step` supersedes later steps of earlier attempts."""

    type: Literal["started"] = "started"
    job: str
    pid: int
    host: str
    device: str | None = None
    versions: dict[str, str] = {}
    resumed_from_step: int | None = None
    job_sha256: str = ""


class Planned(_Event):
    """The estimate made before loading, in bytes and seconds; the counts are of runs it rests on."""

    type: Literal["planned"] = "planned"
    memory_bytes: float | None = None
    seconds: float | None = None
    terms: dict[str, float] = {}
    memory_band: tuple[float, float] | None = None
    seconds_band: tuple[float, float] | None = None
    time_terms: dict[str, float] = {}
    basis: str = "formula"
    memory_runs: int = 0
    time_runs: int = 0


class ModelLoaded(_Event):
    """The base with its adapter is in memory."""

    type: Literal["model_loaded"] = "model_loaded"
    parameters: int
    trainable_parameters: int
    dtype: str
    quantization: str | None = None
    seconds: float
    device: str | None = None


class DataPrepared(_Event):
    """Rows are tokenised and split.

    `rows` were read and `unlearnt` of them hold nothing to learn from; the two `train_` counts are of the
    training examples alone, None in events of earlier versions.
    """

    type: Literal["data_prepared"] = "data_prepared"
    train_examples: int
    validation_examples: int
    tokens: Count
    supervised_tokens: Count
    truncated: int
    dropped: int
    seconds: float
    rows: int = 0
    unlearnt: int = 0
    train_tokens: int | None = None
    train_supervised_tokens: int | None = None


class AnswersExamined(_Event):
    """How many training examples hold an answer (raw text holds none), and how many of those its end.

    `answer_tokens` is the median of their trained tokens.
    """

    type: Literal["answers_examined"] = "answers_examined"
    answers: int
    whole_answers: int
    answer_tokens: int = 0


class EffectMeasured(_Event):
    """How far the model is from its untouched base on a few trained tokens of the training data.

    `beside` is adapter where it is from the one it began from. `mean_kl` is the mean of KL(base | now) in
    nats, `max_logit_difference` the largest difference of a log-probability, `changed` the number of
    `positions` at which another token is now the likeliest; null where a score is not a number.
    """

    type: Literal["effect_measured"] = "effect_measured"
    step: Count
    positions: int
    changed: int
    mean_kl: float | None
    max_logit_difference: float | None
    beside: Literal["base", "adapter"] = "base"


class Seal(BaseModel):
    """One judgement of a run with the figures it rests on; `unmeasured` is neither good nor bad."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    state: Literal["green", "red", "unmeasured"]
    label: str
    evidence: str
    hint: str = ""
    figures: dict[str, float | None] = {}


class Sealed(_Event):
    """The seals as they stand at `step`."""

    type: Literal["sealed"] = "sealed"
    step: Count
    seals: list[Seal]


class Step(_Event):
    """One optimizer step; `loss` is the mean over its supervised tokens, null when it was not a number."""

    type: Literal["step"] = "step"
    step: Count
    total_steps: Count
    epoch: float
    loss: float | None
    learning_rate: float
    grad_norm: float | None = None
    tokens: Count
    supervised_tokens: Count
    seconds: float
    memory_bytes: int = 0


class Evaluated(_Event):
    """Loss over a whole split."""

    type: Literal["evaluated"] = "evaluated"
    step: Count
    split: str = "validation"
    loss: float | None
    perplexity: float | None = None
    metrics: dict[str, float] = {}
    is_best: bool = False


class SampleGenerated(_Event):
    """An answer of the model as it stands at `step`; step 0 is the untouched base.

    `ended` says whether it came to its end by itself within `limit` tokens; `expected_tokens` is the length
    of the answer that the data gives, None where there is none.
    """

    type: Literal["sample_generated"] = "sample_generated"
    step: Count
    prompt: str
    text: str
    tokens: int | None = None
    limit: int | None = None
    ended: bool | None = None
    expected_tokens: int | None = None


class CheckpointSaved(_Event):
    """A checkpoint whose manifest is on the disk; `path` is relative to the job's folder.

    `waited_seconds` is the part of `seconds` in which training stood still.
    """

    type: Literal["checkpoint_saved"] = "checkpoint_saved"
    step: Count
    path: str
    bytes: int
    seconds: float
    waited_seconds: float | None = None


class Device(BaseModel):
    """One accelerator as its driver reports it."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str
    used_bytes: int = 0
    total_bytes: int = 0
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None


class Hardware(_Event):
    """Devices, processor and memory, once a second."""

    type: Literal["hardware"] = "hardware"
    devices: list[Device] = []
    cpu_percent: float
    ram_used_bytes: int
    process_bytes: int


class Progress(_Event):
    """How far a stage with a known length has come."""

    type: Literal["progress"] = "progress"
    stage: str
    done: int
    total: int
    unit: str = ""


class Log(_Event):
    """A line for the log."""

    type: Literal["log"] = "log"
    level: str = "info"
    message: str


class Warned(_Event):
    """Something a person should know that does not end the job."""

    type: Literal["warned"] = "warned"
    code: str
    message: str
    hint: str = ""


class Probed(_Event):
    """What a trial of a few steps took, beside what the plan's formula says of the very same steps.

    Memory is in bytes without the libraries, `process_bytes` with them; `loss` is the mean of the last steps.
    """

    type: Literal["probed"] = "probed"
    steps: int
    tokens: Count
    seconds: float
    quantization: str | None = None
    memory_bytes: float | None = None
    process_bytes: float | None = None
    predicted_memory_bytes: float | None = None
    seconds_per_token: float | None = None
    predicted_seconds_per_token: float | None = None
    loss: float | None = None


class DryRunDone(_Event):
    """What two steps on tensors without values would hold of a device's memory at most, in bytes.

    `terms` say what that was; `layout` how batches were laid out; `remarks` what was counted in another way
    than it will be.
    """

    type: Literal["dry_run_done"] = "dry_run_done"
    peak_bytes: int
    terms: dict[str, int] = {}
    trainable_parameters: int
    seconds: float
    device: str
    precision: str
    layout: str = ""
    remarks: list[str] = []


class Paused(_Event):
    """Saved, device memory freed, waiting for `resume`."""

    type: Literal["paused"] = "paused"
    step: Count


class Resumed(_Event):
    """Going on after a pause."""

    type: Literal["resumed"] = "resumed"
    step: Count


class Finished(_Event):
    """The job reached its end; `adapter` is relative to the job's folder and is that of `adapter_step`.

    `reason` says why a run ended before its last step; empty where it did not.
    """

    type: Literal["finished"] = "finished"
    steps: int = 0
    seconds: float
    peak_memory_bytes: int = 0
    adapter: str | None = None
    adapter_step: int | None = None
    reason: str = ""


class Stopped(_Event):
    """Ended on request after saving."""

    type: Literal["stopped"] = "stopped"
    step: Count


class Failed(_Event):
    """Ended by an error; `file`, `line` and `field` say where, when that is known."""

    type: Literal["failed"] = "failed"
    code: str
    message: str
    hint: str = ""
    file: str | None = None
    line: int | None = None
    field: str | None = None


class Awake(_Event):
    """Whether the computer is kept from falling asleep while the job works; `detail` says why it is not."""

    type: Literal["awake"] = "awake"
    kept: bool
    by: str = ""
    detail: str = ""


class Heartbeat(_Event):
    """Sign of life every five seconds, from a thread of its own."""

    type: Literal["heartbeat"] = "heartbeat"
    phase: str


class Unknown(_Event):
    """An event of a type this version does not know, with all its fields kept."""

    type: str


KnownEvent = Annotated[
    Started
    | Planned
    | ModelLoaded
    | DataPrepared
    | AnswersExamined
    | EffectMeasured
    | Sealed
    | Step
    | Evaluated
    | SampleGenerated
    | CheckpointSaved
    | Hardware
    | Progress
    | Log
    | Warned
    | Probed
    | DryRunDone
    | Paused
    | Resumed
    | Finished
    | Stopped
    | Failed
    | Awake
    | Heartbeat,
    Field(discriminator="type"),
]
Event = KnownEvent | Unknown

_KNOWN: TypeAdapter[Any] = TypeAdapter(KnownEvent)
END_TYPES = ("finished", "stopped", "failed")


def decode(line: bytes) -> Event:
    """Return the event of one line.

    Raises ValueError when the line is no JSON object with a text `type`, or a known type lacks its fields.
    """
    try:
        event: Event = _KNOWN.validate_json(line)
        return event
    except ValidationError as error:
        kind = error.errors(include_url=False, include_context=False)[0]["type"]
        if kind == "union_tag_invalid":
            return Unknown.model_validate_json(line)
        raise ValueError(f"not an event: {kind}") from error
