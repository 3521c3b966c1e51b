"""Say what transformers builds from configurations, on the meta device; make the weights of some of them.

usage: make_meta_models.py FOLDER   reads [{"name", "model_type", "values", "save"}] from standard input and
writes FOLDER/NAME/config.json, FOLDER/NAME-saved/ where `save` says so, and FOLDER/built.json:
{name: {"tensors": {name: shape}, "linears": {name: [in, out]}, "tied", "sliding": layers with a window}}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers as t
from transformers.pytorch_utils import Conv1D


def main() -> None:
    """Write configurations and what was built."""
    folder, built = Path(sys.argv[1]), {}
    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    for asked in json.load(sys.stdin):
        config = t.AutoConfig.for_model(asked["model_type"], **asked["values"])
        with torch.device("meta"):
            model = t.AutoModelForCausalLM.from_config(config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(folder / asked["name"])
        if asked["save"]:
            t.AutoModelForCausalLM.from_config(config).save_pretrained(folder / f"{asked['name']}-saved")
        head, linears = model.get_output_embeddings(), {}
        for name, module in model.named_modules():
            if module is head:
                continue
            if isinstance(module, torch.nn.Linear):
                linears[name] = [module.in_features, module.out_features]
            elif isinstance(module, Conv1D):
                linears[name] = list(module.weight.shape)
        tensors = {name: list(p.shape) for name, p in model.named_parameters()}
        windows = [str(kind) for kind in getattr(config.get_text_config(), "layer_types", None) or ()]
        built[asked["name"]] = {
            "tensors": tensors,
            "linears": linears,
            "tied": head.weight is model.get_input_embeddings().weight,
            "sliding": windows.count("sliding_attention") if windows else None,
        }
    (folder / "built.json").write_text(json.dumps(built))


if __name__ == "__main__":
    main()
