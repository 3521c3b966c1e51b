"""The error catalogue: what each code means, whether it stops, asks or informs, and the form of its words.

Names in braces stand for what differs from case to case. Where the place of an error knows more than the form
it says more, under the same code; the forms are what a person looks up, in the window's Details and in
docs/errors.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engine.paths import show_name

Severity = Literal["error", "warning", "info"]
STOPS: Severity = "error"
ASKS: Severity = "warning"
INFORMS: Severity = "info"
LONGEST_VALUE = 500
_HOLE = re.compile(r"\{(\w+)\}")


def _quoted(hole: re.Match[str]) -> str:
    return f"‹{hole[1].replace('_', ' ')}›"


@dataclass(frozen=True)
class Entry:
    """One code: how grave it is, and the forms of what happened and of what to do next."""

    severity: Severity
    message: str
    hint: str

    def fields(self) -> frozenset[str]:
        """Return the names in braces of both forms."""
        return frozenset(_HOLE.findall(self.message + self.hint))

    def plain(self) -> tuple[str, str]:
        """Return both forms for a person: what differs from case to case stands in angle quotes."""
        message, hint = (_HOLE.sub(_quoted, form) for form in (self.message, self.hint))
        return message, hint


CATALOGUE: dict[str, Entry] = {
    "DATA-01": Entry(
        STOPS,
        "{file}, line {line}, column {col}: byte {byte} is not {encoding}.",
        "Save the file as UTF-8, or choose its encoding (guess: {guess}).",
    ),
    "DATA-02": Entry(
        STOPS,
        "{file}, line {line}, column {col}: {what}.",
        "Correct this line, or leave out {n} such rows.",
    ),
    "DATA-03": Entry(
        STOPS,
        "{file} holds {k} kinds of rows: {kinds}.",
        "Split it, or say for each kind which column is the answer.",
    ),
    "DATA-04": Entry(
        STOPS,
        "{file}, line {line}, {path}: {expected} expected, {found} found.",
        "Choose another column or correct the value.",
    ),
    "DATA-05": Entry(
        STOPS,
        '{file}, line {line}, message {i}: role "{role}" {problem}.',
        "Roles go system, then user and assistant in turn; map other names on this page.",
    ),
    "DATA-06": Entry(
        STOPS,
        "{n} of {total} rows have nothing to learn from: {why}.",
        "Raise the length to {length}, or look at the answer column.",
    ),
    "DATA-07": Entry(
        STOPS,
        "Only {n} usable rows in {file}.",
        "At least 1 is needed to start; 50 or more to learn something.",
    ),
    "DATA-08": Entry(
        STOPS,
        "{file}{place} is larger than {limit}{after_unpacking}.",
        "Check that it is what you expect, then unpack or split it yourself.",
    ),
    "DATA-09": Entry(
        ASKS,
        "{n} rows are both in training and in validation.",
        "Remove them from validation, or the score will look too good.",
    ),
    "DATA-10": Entry(
        STOPS,
        "{file}, row {row}, column {col}: {what} (opened on line {line}).",
        "Close the quote, or choose delimiter {guess}.",
    ),
    "DATA-11": Entry(
        ASKS,
        "{file} changed after step {step}.",
        "Go on with the rows kept in the run, or start a new run.",
    ),
    "DATA-12": Entry(
        STOPS,
        "{file} is {found}; it cannot be read as {expected}.",
        "Export it as JSONL, CSV, XLSX or Parquet without a password.",
    ),
    "MODEL-01": Entry(
        STOPS,
        "{file} can run programs when opened, so it was not opened.",
        "Look for a safetensors version of this model.",
    ),
    "MODEL-02": Entry(
        STOPS,
        "{file} is damaged or forged: {what}.",
        "Download it again; expected size {size}.",
    ),
    "MODEL-03": Entry(
        STOPS,
        "{file} points outside its folder: {target}.",
        "Do not use this folder unless you made it yourself.",
    ),
    "MODEL-04": Entry(
        STOPS,
        "This model needs its own program code ({field}).",
        "Choose a model of a built-in family: {families}.",
    ),
    "MODEL-05": Entry(STOPS, "{file}: {field} = {value} is not supported.", "{remedy}"),
    "MODEL-06": Entry(
        STOPS,
        "The {part} of this model was stopped: {why}.",
        "Choose one of the built-in templates, or another model.",
    ),
    "MODEL-07": Entry(
        STOPS,
        "The adapter does not fit {base}: {difference}.",
        "Choose the base it was trained on: {recorded}.",
    ),
    "MODEL-08": Entry(
        STOPS,
        "{file} of the base model changed since step {step}.",
        "Restore it, or start a new run from the adapter.",
    ),
    "RUN-01": Entry(
        STOPS,
        "Training ended at step {step} without a closing note ({cause}).",
        "Resume goes on from step {ckpt}; {lost} steps are repeated.",
    ),
    "RUN-02": Entry(
        STOPS,
        "This run is already going ({host}, since {time}).",
        "Open it to watch; stop it first to start again.",
    ),
    "RUN-03": Entry(
        STOPS,
        "The folder of this run is gone: {path}.",
        "Bring it back or show where it is now.",
    ),
    "RUN-04": Entry(
        ASKS,
        "The save of step {step} is damaged; step {older} is sound.",
        "Go on from {older}; the damaged one is kept in quarantine.",
    ),
    "RUN-05": Entry(
        STOPS,
        "No sound save in this run.",
        "Start again with the same recipe; {what_remains} remains.",
    ),
    "RUN-06": Entry(
        ASKS,
        "Other versions than before: {table}.",
        "You can go on; the result may differ in the last digits.",
    ),
    "RUN-07": Entry(
        STOPS,
        "Loss was not a number 3 times in a row at step {step}.",
        "Resume from {ckpt} with learning rate {half}; look at row {row}.",
    ),
    "RUN-08": Entry(
        ASKS,
        "Loss jumped from {a} to {b} at step {step}.",
        "Usual once; if it stays high, lower the learning rate.",
    ),
    "RUN-09": Entry(INFORMS, "{n} lines of the log could not be read.", "Saves are not affected."),
    "RUN-10": Entry(
        STOPS,
        "{fields} cannot change in a started run.",
        "Make a copy of the run with the new values.",
    ),
    "RUN-11": Entry(
        ASKS,
        "No sign of life for {s} s (phase: {phase}).",
        "Wait, or Stop now; the save of step {ckpt} stays.",
    ),
    "RUN-12": Entry(
        ASKS,
        "This run was made by a newer Tunesmith ({format}).",
        "You can look at it; update to go on with it.",
    ),
    "DISK-01": Entry(
        STOPS,
        "{need} needed in {folder}, {free} free. Training waits.",
        "Free some space, then Continue; nothing is lost.",
    ),
    "DISK-02": Entry(
        STOPS,
        "{path} cannot be written: {why}.",
        "Choose another folder or correct its permissions.",
    ),
    "DISK-03": Entry(
        STOPS,
        "The disk reported an error at {path}.",
        "Copy the run to another disk; the save of step {ckpt} is sound.",
    ),
    "DISK-04": Entry(STOPS, "{folder} does not keep locks (network share?).", "Keep runs on a local disk."),
    "GPU-01": Entry(
        STOPS,
        "The GPU has too little memory: {need} needed, {free} free.",
        "{cheapest_three_changes}",
    ),
    "GPU-02": Entry(
        STOPS,
        "The GPU stopped answering at step {step}.",
        "Restart the computer if it happens again; resume from {ckpt}.",
    ),
    "GPU-03": Entry(
        STOPS,
        "Driver {found} is too old or torch has no GPU support; {needed} needed.",
        "Update the driver, or train on the CPU ({time}).",
    ),
    "GPU-04": Entry(
        ASKS,
        "{program} uses {used} of the GPU memory.",
        "Close it, wait in the queue, or start anyway.",
    ),
    "REC-01": Entry(STOPS, "{file}, line {line}: {field}: {problem}.", "Allowed: {allowed}."),
    "HUB-01": Entry(
        STOPS,
        "{host} cannot be reached ({why}).",
        "Check the connection; files already here still work.",
    ),
    "HUB-02": Entry(
        ASKS,
        "{file} is not complete: {have} of {size}.",
        "Go on with the download; checked parts are kept.",
    ),
    "HUB-03": Entry(
        STOPS,
        "{repo} needs permission.",
        "Accept its terms on its page, then enter a token in Settings.",
    ),
    "CHAT-01": Entry(ASKS, "The chat process ended ({cause}).", "The conversation is kept; Try again."),
    "APP-01": Entry(
        STOPS,
        "Something unexpected happened (report {id}).",
        "Your runs are safe; save the report and send it.",
    ),
}
CODES: frozenset[str] = frozenset(CATALOGUE)


def severity(code: str) -> Severity:
    """Return how grave a code is; an unknown one, of a newer version, stops."""
    entry = CATALOGUE.get(code)
    return STOPS if entry is None else entry.severity


def fill(code: str, values: dict[str, object]) -> tuple[str, str]:
    """Return message and hint of a code with `values` in the places of their names.

    Values are made fit to be shown and never read as a form; raises KeyError for a name without a value.
    """
    entry = CATALOGUE[code]
    shown = {name: show_name(str(value), LONGEST_VALUE) for name, value in values.items()}

    def filled(form: str) -> str:
        return _HOLE.sub(lambda hole: shown[hole[1]], form)

    return filled(entry.message), filled(entry.hint)
