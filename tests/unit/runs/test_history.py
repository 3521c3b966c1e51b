"""A run folded from its events: the same live and replayed, with later attempts superseding."""

import json

import pytest

from engine.events import (
    CheckpointSaved,
    DataPrepared,
    Device,
    Evaluated,
    Failed,
    Finished,
    Hardware,
    Heartbeat,
    Log,
    ModelLoaded,
    Paused,
    Planned,
    Progress,
    Resumed,
    SampleGenerated,
    Started,
    Step,
    Stopped,
    Unknown,
    Warned,
)
from engine.runs.eta import spoken_eta
from engine.runs.event_log import EventReader, EventWriter
from engine.runs.history import RunHistory
from engine.runs.remarks import remarks


class Tape:
    """Events with a clock of their own."""

    def __init__(self):
        self.events, self.mono, self.attempt = [], 100.0, 1

    def add(self, event, after=0.0):
        self.mono += after
        fields = {
            "time": 1e9 + self.mono,
            "mono": self.mono,
            "attempt": self.attempt,
            "seq": len(self.events),
        }
        self.events.append(event.model_copy(update=fields))

    def start(self, resumed=None):
        self.add(Started(job="train", pid=1, host="here", resumed_from_step=resumed))

    def step(self, step, loss=1.0, seconds=1.0, total=100, **more):
        fields = dict(epoch=step / 50, learning_rate=1e-4, grad_norm=0.4, tokens=500, supervised_tokens=90)
        fields |= dict(memory_bytes=10**9 + step) | more
        self.add(Step(step=step, total_steps=total, loss=loss, seconds=seconds, **fields), seconds)


def folded(tape):
    history = RunHistory()
    history.fold(tape.events)
    return history


def a_whole_run():
    tape = Tape()
    tape.start()
    tape.add(Heartbeat(phase="prepare data"))
    tape.add(Planned(memory_bytes=2e9, seconds=100.0, terms={"base": 1e9}))
    tape.add(Progress(stage="prepare data", done=5, total=10, unit="rows"), 1)
    numbers = dict(tokens=9000, supervised_tokens=900, truncated=2, dropped=0)
    tape.add(DataPrepared(train_examples=90, validation_examples=10, seconds=2, **numbers), 1)
    tape.add(ModelLoaded(parameters=1000, trainable_parameters=10, dtype="float32", seconds=4), 5)
    tape.add(SampleGenerated(step=0, prompt="hello", text="base says"))
    for step in range(1, 31):
        tape.step(step, loss=2 - step * 0.03)
        if step % 10 == 0:
            tape.add(Evaluated(step=step, loss=2.1 - step * 0.03, perplexity=5.0, is_best=True), 2)
            tape.add(SampleGenerated(step=step, prompt="hello", text=f"at {step}"), 1)
            tape.add(
                CheckpointSaved(step=step, path=f"checkpoints/step-{step:08d}", bytes=10**6, seconds=0.5), 1
            )
    devices = [Device(name="RTX", used_bytes=10**9, total_bytes=24 * 10**9)]
    tape.add(Hardware(devices=devices, cpu_percent=5.0, ram_used_bytes=1, process_bytes=2))
    tape.add(Warned(code="GPU-01", message="Memory ran out.", hint="Cut."))
    tape.add(Log(message="a word"))
    return tape


def test_that_steps_become_series_and_numbers():
    history = folded(a_whole_run())
    assert history.state == "running"
    assert (history.step, history.total_steps) == (30, 100)
    assert history.series["loss"].steps.tolist() == list(range(1, 31))
    assert history.loss == pytest.approx(1.1)
    assert history.series["tokens_per_second"].last == 500
    assert history.series["validation"].steps.tolist() == [10, 20, 30]
    assert (history.best.step, history.best.loss) == (30, pytest.approx(1.2))
    assert history.peak_memory_bytes == 10**9 + 30
    assert history.capacity_bytes == 24 * 10**9
    assert history.sample_steps() == [0, 10, 20, 30]
    assert history.samples_at(20)[0].text == "at 20"
    assert history.text_summary() == "loss 1.100 at step 30, falling; best validation 1.200 at 30"
    assert history.steps_since_checkpoint() == 0


def test_i04_that_replay_and_live_give_the_same_view_field_by_field(tmp_path):
    tape = a_whole_run()
    tape.add(Finished(steps=30, seconds=42.0, peak_memory_bytes=3 * 10**9, adapter="adapter"), 1)
    writer = EventWriter(tmp_path)
    live, reader = RunHistory(), EventReader(tmp_path)
    for number, event in enumerate(tape.events):
        writer.write(event)
        if number % 7 == 0:
            live.fold(reader.read_new(limit=3))
    live.fold(reader.read_new())
    replayed = RunHistory()
    replayed.fold(EventReader(tmp_path).read_new())
    first, second = live.view(), replayed.view()
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == second[name], name
    assert json.dumps(first["series"])
    assert first["state"] == "finished"


def test_i04_that_a_later_attempt_supersedes_later_steps():
    tape = a_whole_run()
    tape.attempt, tape.mono = 2, 5.0
    tape.start(resumed=20)
    tape.step(21, loss=9.0)
    history = folded(tape)
    assert history.series["loss"].steps.tolist() == list(range(1, 22))
    assert history.series["loss"].values[-1] == 9.0
    assert history.series["loss"].version > 0
    assert [e.step for e in history.evaluations] == [10, 20]
    assert [c.step for c in history.checkpoints] == [10, 20]
    assert history.best.step == 20
    assert history.sample_steps() == [0, 10, 20]
    assert history.step == 21
    assert history.resumed_from == [20]


def test_that_a_resume_without_a_save_begins_at_nothing():
    tape = a_whole_run()
    tape.attempt = 2
    tape.start(resumed=0)
    history = folded(tape)
    assert len(history.series["loss"]) == 0
    assert history.best is None
    assert history.step == 0


def test_that_time_between_attempts_and_in_pauses_is_not_counted():
    tape = Tape()
    tape.start()
    tape.step(1, seconds=10)
    tape.add(Paused(step=1))
    tape.add(Heartbeat(phase="paused"), 1000)
    assert folded(tape).state == "paused"
    tape.add(Resumed(step=1), 1)
    tape.step(2, seconds=10)
    tape.attempt, tape.mono = 2, 3.0
    tape.start(resumed=2)
    tape.step(3, seconds=10)
    history = folded(tape)
    assert history.elapsed_seconds == pytest.approx(30)
    assert history.state == "running"


def test_that_phases_before_the_first_step_have_times():
    tape = Tape()
    tape.start()
    tape.add(Heartbeat(phase="prepare data"), 3)
    assert [(p.label, p.seconds, p.done) for p in folded(tape).phases] == [
        ("Prepare data", 3, False),
        ("Load model", None, False),
        ("First step", None, False),
    ]
    history = folded(a_whole_run())
    assert [(p.key, p.seconds, p.done) for p in history.phases] == [
        ("data", 2, True),
        ("model", 5, True),
        ("step", 1, True),
    ]


def test_that_time_left_is_estimated_from_the_median_step_and_what_is_to_come():
    tape = Tape()
    tape.start()
    for step in range(1, 6):
        tape.step(step, seconds=1.0)
    assert folded(tape).eta_seconds() is None
    for step in range(6, 41):
        tape.step(step, seconds=50.0 if step == 13 else 1.0)
        if step % 10 == 0:
            tape.add(Evaluated(step=step, loss=1.0), 5)
    # 60 steps of one second, and six more evaluations of five seconds.
    assert folded(tape).eta_seconds() == pytest.approx(60 + 6 * 5, abs=1)


def test_that_slow_steps_are_estimated_after_thirty_seconds():
    tape = Tape()
    tape.start()
    for step in range(1, 5):
        tape.step(step, seconds=12.0)
    assert folded(tape).eta_seconds() == pytest.approx(96 * 12)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "estimating"),
        (float("nan"), "estimating"),
        (20, "less than a minute"),
        (36.2 * 60, "36 min left"),
        (62 * 60, "60 min left"),
        (2.1 * 3600, "about 2 h left"),
        (80 * 3600, "about 3 days left"),
    ],
)
def test_that_time_left_is_worded_coarsely(seconds, words):
    assert spoken_eta(seconds) == words


def test_that_numbers_that_are_none_are_gaps():
    tape = Tape()
    tape.start()
    tape.step(1, loss=1.0)
    tape.step(2, loss=None, grad_norm=None)
    tape.add(Evaluated(step=2, loss=None))
    history = folded(tape)
    assert history.series["loss"].finite() == [1.0]
    assert history.loss == 1.0
    assert history.best is None
    assert any("not a number" in remark.text for remark in remarks(history))


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (Finished(seconds=1.0, adapter="adapter"), "finished"),
        (Stopped(step=30), "stopped"),
        (Failed(code="RUN-07", message="No number.", hint="Lower the rate."), "failed"),
    ],
)
def test_that_the_last_event_gives_the_state(event, state):
    tape = a_whole_run()
    tape.add(event)
    history = folded(tape)
    assert history.state == state
    assert history.eta_seconds() is None
    assert history.ended_at == tape.events[-1].time
    if state == "failed":
        assert history.failure.code == "RUN-07"
        assert "RUN-07" in history.log[-1].text


def test_that_unknown_events_change_nothing_but_the_clock():
    tape = a_whole_run()
    before = folded(tape).view()
    tape.add(Unknown(type="faults_armed"))
    assert folded(tape).view() == before


def test_that_rising_validation_is_remarked_with_the_step_it_rises_from():
    tape = Tape()
    tape.start()
    for step in range(1, 61):
        tape.step(step)
        if step % 10 == 0:
            tape.add(Evaluated(step=step, loss=1.0 + abs(step - 20) / 100))
    (remark,) = remarks(folded(tape))
    assert remark.text.startswith("Validation rises since step 20")
    assert (remark.rule, remark.evidence) == ("R21", ("A18",))
    assert any("clipped" in r.text for r in remarks(folded(tape), max_grad_norm=0.1))
