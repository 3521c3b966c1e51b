"""The data section of the recipe: which rows, how they are read, and which tokens are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool

from engine.recipe.option import Names, Section, option

DataFormat = Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "text", "preference"]


class SourceEntry(Section):
    """What differs for one file of the training or validation data; empty values follow the data section."""

    share: float | None = Field(default=None, gt=0.0, le=1.0)
    format: DataFormat | None = None
    columns: dict[str, str] | None = None
    encoding: str | None = None
    part: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    header: StrictBool | None = None
    label_names: dict[str, str] | None = None
    role_names: dict[str, str] | None = None


class DataOptions(Section):
    """Which rows, how they are read, and which tokens are trained."""

    train: Names = option(
        list, "Training data", "One or more files with the examples to learn from.", level="simple"
    )
    validation: str | None = option(
        None, "Validation data", "A file that is only measured on. Empty splits some training rows off."
    )
    validation_split: float = option(
        0.1,
        "Validation share",
        "The share of rows kept aside to measure on, chosen by a seed.",
        level="simple",
        suggestions=(0, 0.05, 0.1, 0.2),
        ge=0.0,
        le=0.5,
    )
    split_seed: int | None = option(
        None,
        "Seed of the split",
        "Draws the rows kept aside, and those that a source's share leaves out. Empty takes the run's seed; "
        "a number of its own lets runs with several seeds be measured on the same rows.",
        ge=0,
        le=2**31 - 1,
    )
    format: DataFormat = option(
        "auto", "Format", "How a row is laid out. Auto finds it from the first rows and says why."
    )
    columns: dict[str, str] = option(
        dict, "Columns", "Which column plays which role, such as prompt: question."
    )
    encoding: str | None = option(
        None,
        "Encoding",
        "How the bytes of a text file are read, such as cp1252 or shift_jis. Empty means UTF-8.",
    )
    part: str | None = option(
        None,
        "Part",
        "The sheet, list, archive member or split that holds the rows. Empty takes the only or usual one.",
    )
    delimiter: str | None = option(
        None,
        "Delimiter",
        "The character between the cells of a table. Empty finds it.",
        level="expert",
        min_length=1,
        max_length=1,
    )
    header: StrictBool | None = option(
        None, "Header", "Whether a table's first line names its columns. Empty finds out.", level="expert"
    )
    bad_rows: Literal["refuse", "leave_out"] = option(
        "refuse",
        "Rows that cannot be used",
        "Refuse to start while there is one, or leave them out and count them.",
    )
    label_names: dict[str, str] = option(
        dict, "Label names", "What a label is called in the answer, such as 0: negative."
    )
    role_names: dict[str, str] = option(
        dict, "Role names", "What other names of roles mean, such as customer: user."
    )
    sources: dict[str, SourceEntry] = option(
        dict,
        "Per file",
        "What differs for one of the files: share, format, columns, encoding, part.",
        level="expert",
    )
    chat_template: str = option(
        "auto", "Chat template", "How a conversation becomes text. Auto takes the model's own.", level="all"
    )
    system_prompt: str | None = option(
        None, "System prompt", "Put before every conversation that has none of its own.", level="simple"
    )
    system_message: Literal["keep", "first_question"] = option(
        "keep",
        "System message",
        "Keep it in its place, or put it before the first question, for templates without a place for it.",
    )
    special_tokens: Literal["tokenizer", "text"] = option(
        "tokenizer",
        "Special tokens in the text",
        "Marks typed inside an example become the marks themselves, as the tokenizer does, or plain text.",
    )
    train_on: Literal["assistant", "last", "all"] = option(
        "assistant",
        "Learn from",
        "Which words are trained: every answer, the last answer only, or the whole text.",
        level="simple",
    )
    max_length: int = option(
        1024,
        "Longest example",
        "Examples are at most this long. Longer ones are handled as the next field says.",
        unit="tokens",
        level="simple",
        suggestions=(256, 512, 1024, 2048, 4096),
        memory=1,
        time=1,
        quality=1,
        ge=8,
        le=1_048_576,
    )
    too_long: Literal["truncate", "drop", "split", "error"] = option(
        "truncate", "What is too long", "Cut the end, leave the row out, split raw text, or refuse to start."
    )
    packing: StrictBool = option(
        False,
        "Packing",
        "Puts short examples together up to the longest length; none of them sees another.",
        memory=1,
    )
    shuffle: StrictBool = option(
        True, "Shuffle", "Takes rows in a new order each epoch, drawn from the seed."
    )
    dedupe: StrictBool = option(
        False, "Drop duplicates", "Leaves out rows that are the same as an earlier one."
    )
    near_duplicates: Literal["keep", "drop"] = option(
        "keep", "Near-duplicates", "Keeps or leaves out rows that are nearly the same as an earlier one."
    )
    overlap: Literal["keep", "drop"] = option(
        "keep",
        "Validation rows also trained on",
        "Keeps them in the validation data, where they flatter the score, or leaves them out there.",
    )
