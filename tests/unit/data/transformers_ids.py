"""Print what transformers makes of some conversations. usage: transformers_ids.py FOLDER < cases.json

A process of its own: the process of the tests never imports torch.
"""

from __future__ import annotations

import json
import sys

from transformers import PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast.from_pretrained(sys.argv[1])
answers = []
for case in json.load(sys.stdin):
    tokenizer.chat_template = case["template"]
    options = {"tools": case["tools"], "add_generation_prompt": case["prompt"]}
    text = tokenizer.apply_chat_template(case["messages"], tokenize=False, **options)
    ids = tokenizer.apply_chat_template(case["messages"], tokenize=True, return_dict=False, **options)
    mask = []
    if "endgeneration" in case["template"]:
        marked = tokenizer.apply_chat_template(
            case["messages"], tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **options
        )
        mask = list(marked["assistant_masks"])
    answers.append({"text": text, "ids": list(ids), "mask": mask})
json.dump(answers, sys.stdout)
