"""The parts of a run's script that hang on its method: base, adapter, optimizer and schedule."""

from __future__ import annotations

from typing import Any

from engine.models.facts import ModelFacts, is_embedding, is_position
from engine.plan.adapter_size import HEAD, adapted_linears, shapes_in
from engine.plan.optimizers import OF_BITSANDBYTES
from engine.recipe.recipe import Recipe
from engine.recipe.schedules import decay_of
from engine.recipe.targets import ALL_LINEAR, GROUPS, fits, in_group
from engine.recipe.uses import usual_values
from engine.runs.script_text import WIDTH, Code, call

CONFIGS = {"lora": "LoraConfig", "vera": "VeraConfig", "ia3": "IA3Config", "oft": "OFTConfig"}
_REST = ("pissa", "olora")  # the base holds the rest of what the adapter begins with


# -- base and adapter ----------------------------------------------------------------------------------------
def base_source(recipe: Recipe, dtype: str, device: str) -> str:
    """Return `make_model`: the base as the run held it, with the adapter drawn from the seed."""
    full = recipe.adapter.method == "full"
    values: dict[str, Any] = {"revision": Code("REVISION")} if recipe.model.revision else {}
    values["dtype"] = Code(f"torch.{dtype}")
    quantised = _quantised(recipe, dtype)
    if quantised:
        values |= {"quantization_config": Code(quantised), "device_map": Code('{"": device}')}
    if recipe.model.attn_implementation != "auto":
        values["attn_implementation"] = recipe.model.attn_implementation
    told = "put the adapter on it, drawn from the seed"
    if recipe.adapter.path is not None:
        told = "put the adapter on it that training goes on from"
    told = "all of it is trained" if full else told
    lines = [
        "def make_model():",
        f'    """Load the base; {told}."""',
        f"    model = {call('AutoModelForCausalLM.from_pretrained', values, 4, 'BASE', used=12)}",
    ]
    if recipe.training.gradient_checkpointing == "all":
        lines += ["    model.gradient_checkpointing_enable()", "    model.enable_input_require_grads()"]
    if recipe.model.load_in_4bit and device == "CPU":
        lines += [
            "    for module in model.modules():  # repacked weights give wrong gradients",
            '        if hasattr(module, "support_avx512bf16_for_cpu"):',
            "            module.support_avx512bf16_for_cpu = False",
        ]
    place = "" if quantised else ".to(device)"
    if full:
        return "\n".join([*lines, f"    return model{place}"])
    lines += ["    model.requires_grad_(False)", "    torch.manual_seed(SEED)"]
    if recipe.adapter.path is None:
        return "\n".join([*lines, f"    return get_peft_model(model, ADAPTER){place}"])
    return "\n".join([*lines, *BEGIN, f"    return model{place}"])


BEGIN = (
    "    model = get_peft_model(model, ADAPTER)",
    '    file = Path(BEGINS_FROM) / "adapter_model.safetensors"',
    "    if hashlib.sha256(file.read_bytes()).hexdigest() != BEGINS_FROM_SHA256:",
    '        sys.exit("Another adapter than the one the run began from")',
    "    values = safetensors.torch.load_file(file)",
    '    values = {k: v for k, v in values.items() if ".base_layer.weight" not in k}',
    "    set_peft_model_state_dict(model, values)",
)


def _quantised(recipe: Recipe, dtype: str) -> str:
    options = recipe.model
    if options.load_in_8bit:
        return "BitsAndBytesConfig(load_in_8bit=True)"
    if not options.load_in_4bit:
        return ""
    values = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": options.bnb_4bit_quant_type,
        "bnb_4bit_use_double_quant": options.bnb_4bit_use_double_quant,
        "bnb_4bit_compute_dtype": Code(f"torch.{dtype}"),
    }
    return call("BitsAndBytesConfig", values, 8, used=WIDTH)


def adapter_source(recipe: Recipe, facts: ModelFacts) -> str:
    """Return `ADAPTER = ...Config(...)` as the run's own, by the names of the modules."""
    options = recipe.adapter
    linears = [linear.name for linear, _ in adapted_linears(facts, options)]
    modules = _modules(facts, linears)
    whole = [m for entry in options.modules_to_save for m in modules if fits(m, entry)]
    whole = list(dict.fromkeys(whole))
    values: dict[str, Any] = {"target_modules": _short(linears, modules)}
    every = set(linears) == {linear.name for linear in facts.linears}
    if options.target_modules == ALL_LINEAR and every and not facts.experts:  # it takes routers of experts
        values = {"target_modules": ALL_LINEAR}
    if options.method == "ia3":
        inner = _short([n for n in linears if in_group(n, "down")], modules)
        outer = _short([n for n in linears if not in_group(n, "down")], modules)
        values = {"target_modules": inner + outer, "feedforward_modules": inner}
    elif options.method == "lora":
        values |= _lora(recipe, linears)
    elif options.method == "vera":
        values |= {"r": options.r, "vera_dropout": options.lora_dropout}
        values |= {"projection_prng_key": Code("SEED")}
    elif options.method == "oft":
        values |= {"r": 0, "oft_block_size": options.oft_block_size}
    if options.bias != "none":
        own = f"{options.method}_only" if options.bias == "lora_only" else options.bias
        values["bias"] = own
    if whole:
        values["modules_to_save"] = whole
        words = [
            n.removesuffix(".weight") for n in shapes_in(facts) if is_embedding(n) and not is_position(n)
        ]
        if facts.tied and {HEAD, *words} & set(whole):
            values["ensure_weight_tying"] = True
    values["task_type"] = "CAUSAL_LM"
    return f"ADAPTER = {call(CONFIGS[options.method], values, used=WIDTH)}"


def _lora(recipe: Recipe, linears: list[str]) -> dict[str, Any]:
    options = recipe.adapter
    values: dict[str, Any] = {
        "r": options.r,
        "lora_alpha": options.lora_alpha,
        "lora_dropout": options.lora_dropout,
    }
    for name in ("rank_pattern", "alpha_pattern"):
        found: dict[str, int | float] = {}
        for key, value in getattr(options, name).items():
            for end in [n for n in linears if fits(n, key)] if key in GROUPS else [key]:
                found.setdefault(end, value)
        if found:
            values[name] = found
    values |= {name: True for name in ("use_rslora", "use_dora") if getattr(options, name)}
    if options.init_lora_weights is not True:
        values["init_lora_weights"] = options.init_lora_weights
    return values


def _modules(facts: ModelFacts, linears: list[str]) -> list[str]:
    """Return the names of all modules that hold a parameter, or one of whose parts does."""
    found: dict[str, None] = {}
    owners = [name.rpartition(".")[0] for name in shapes_in(facts)]
    for name in [*owners, *(linear.name for linear in facts.linears), *linears, HEAD]:
        parts = name.split(".")
        found |= dict.fromkeys(".".join(parts[: i + 1]) for i in range(len(parts)))
    return list(found)


def _short(names: list[str], modules: list[str]) -> list[str]:
    """Return the names with their last part alone where all modules that end in it are meant."""
    ends: dict[str, set[str]] = {}
    for module in modules:
        ends.setdefault(module.rpartition(".")[2], set()).add(module)
    meant = set(names)
    return sorted({leaf if ends[leaf := name.rpartition(".")[2]] <= meant else name for name in names})


def start_kept(recipe: Recipe) -> bool:
    """Return whether the adapter's start has to be saved too: its result is told as what was added to it."""
    return recipe.adapter.method == "lora" and recipe.adapter.init_lora_weights in _REST


# -- optimizer -----------------------------------------------------------------------------------------------
GROUPS_OF = '''
def groups_of(model):
    """Return the trained parameters in groups of equal rate and weight decay."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    still = {id(p) for m in norms for p in m.parameters()}
    names = re.compile(r"bias|layernorm|rmsnorm|(?:^|\\.)norm(?:$|\\.)|_norm(?:$|\\.)")
    groups = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            fixed = id(p) in still or names.search(name.lower())
            decay = 0.0 if fixed else WEIGHT_DECAY
            ratio = LORAPLUS_RATIO if "lora_B" in name or p.ndim == 1 else 1.0
            groups.setdefault((LEARNING_RATE * ratio, decay), []).append(p)
    return [
        {"params": params, "lr": rate, "weight_decay": decay}
        for (rate, decay), params in groups.items()
    ]
'''
MATRICES_OF = '''
def matrices_of(model):
    """Return the ids of the matrices inside the model: what Muon steps."""
    outer = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    outer.append(model.get_output_embeddings())
    apart = {id(p) for m in outer if m is not None for p in m.parameters()}
    return {
        id(p)
        for p in model.parameters()
        if p.ndim == 2 and min(p.shape) > 1 and id(p) not in apart
    }
'''


def several_groups(recipe: Recipe) -> bool:
    """Return whether parameters differ in rate or in weight decay."""
    options = recipe.training
    if options.loraplus_lr_ratio not in (None, 1.0):
        return True
    whole = recipe.adapter.method == "full" or recipe.adapter.modules_to_save or recipe.adapter.bias != "none"
    return bool(options.weight_decay and whole)


def optimizer_source(recipe: Recipe) -> str:
    """Return the lines of `main` that make the optimizer, or for Muon the two."""
    options = recipe.training
    first = "groups_of(model)" if several_groups(recipe) else "parameters"
    values: dict[str, Any] = {"lr": Code("LEARNING_RATE")}
    if options.optim == "muon":
        return _muon(recipe)
    if options.optim == "sgd":
        usual, own = usual_values(options)["training.momentum"], options.momentum
        values["momentum"] = usual if own is None else own
    elif options.optim == "adafactor":
        values |= {"scale_parameter": False, "relative_step": False}
    else:
        values |= _betas(recipe)
    if options.optim.startswith("lion"):
        values["optim_bits"] = 8 if options.optim.endswith("8bit") else 32
    values["weight_decay"] = Code("WEIGHT_DECAY")
    made = f"    optimizer = {call(_NAMES[options.optim], values, 4, first, used=16)}"
    if options.optim.endswith("8bit") and _trains_tables(recipe):
        made += _WHOLE_TABLES
    return made


_NAMES = {
    "adamw": "torch.optim.AdamW",
    "sgd": "torch.optim.SGD",
    "adafactor": "Adafactor",
    "adamw_8bit": "bnb.optim.AdamW8bit",
    "paged_adamw": "bnb.optim.PagedAdamW32bit",
    "paged_adamw_8bit": "bnb.optim.PagedAdamW8bit",
    "lion": "bnb.optim.Lion",
    "lion_8bit": "bnb.optim.Lion",
}
_WHOLE_TABLES = """
    for module in model.modules():  # most rows of a table have no gradient in a step
        if isinstance(module, torch.nn.Embedding) and module.weight.requires_grad:
            manager = bnb.optim.GlobalOptimManager.get_instance()
            manager.override_config(module.weight, "optim_bits", 32)"""


def _trains_tables(recipe: Recipe) -> bool:
    return recipe.adapter.method == "full" or bool(recipe.adapter.modules_to_save)


def _betas(recipe: Recipe) -> dict[str, Any]:
    options = recipe.training
    usual, own = usual_values(options)["training.adam_beta2"], options.adam_beta2
    values: dict[str, Any] = {}
    if (options.adam_beta1, own) not in ((0.9, None), (0.9, usual)):
        values["betas"] = (options.adam_beta1, usual if own is None else own)
    if options.adam_epsilon != 1e-8 and not options.optim.startswith("lion"):
        values["eps"] = options.adam_epsilon
    return values


def _muon(recipe: Recipe) -> str:
    options = recipe.training
    usual, own = usual_values(options)["training.momentum"], options.momentum
    muon = {
        "lr": Code("LEARNING_RATE"),
        "weight_decay": Code("WEIGHT_DECAY"),
        "momentum": usual if own is None else own,
        "adjust_lr_fn": "match_rms_adamw",
    }
    adamw = {"lr": Code("LEARNING_RATE"), **_betas(recipe), "weight_decay": Code("WEIGHT_DECAY")}
    return f"""\
    matrices = matrices_of(model)
    inside = [p for p in parameters if id(p) in matrices]
    others = [p for p in parameters if id(p) not in matrices]
    optimizers = []
    if inside:
        muon = {call("torch.optim.Muon", muon, 8, "inside", used=15)}
        optimizers.append(muon)
    if others:
        adamw = {call("torch.optim.AdamW", adamw, 8, "others", used=16)}
        optimizers.append(adamw)"""


# -- schedule ------------------------------------------------------------------------------------------------
def schedule_source(recipe: Recipe, total: int) -> str:
    """Return the lines of `main` that make the schedule of every optimizer."""
    made = _schedule(recipe, total, 8 if recipe.training.optim == "muon" else 4)
    if recipe.training.optim == "muon":
        return f"    schedulers = [\n        {made}\n        for optimizer in optimizers\n    ]"
    return f"    scheduler = {made}"


def _schedule(recipe: Recipe, total: int, indent: int) -> str:
    options = recipe.training
    least = options.min_lr_ratio
    if options.lr_scheduler_type == "one_cycle":
        values: dict[str, Any] = {
            "max_lr": Code('[group["lr"] for group in optimizer.param_groups]'),
            "total_steps": Code("STEPS"),
            "pct_start": Code("WARMUP_STEPS / STEPS"),
            "cycle_momentum": False,
        }
        return call("torch.optim.lr_scheduler.OneCycleLR", values, indent, "optimizer", used=WIDTH)
    shapes: dict[str, dict[str, Any]] = {
        "cosine_with_min_lr": {"min_lr_rate": least},
        "cosine_with_restarts": {"num_cycles": options.num_cycles},
        "polynomial": {"power": options.power, "lr_end": least * options.learning_rate},
        "inverse_sqrt": {"timescale": options.timescale} if options.timescale else {},
        "warmup_stable_decay": {
            "num_decay_steps": decay_of(options, total),
            "decay_type": options.decay_type,
            "min_lr_ratio": least,
        },
    }
    shape = shapes.get(options.lr_scheduler_type, {})
    values = {"scheduler_specific_kwargs": shape} if shape else {}
    name, used = f'"{options.lr_scheduler_type}"', 8 if indent == 8 else 16
    return call("get_scheduler", values, indent, name, "optimizer", "WARMUP_STEPS", "STEPS", used=used)


def imports_of(recipe: Recipe) -> tuple[list[str], list[str]]:
    """Return (import lines, what else is needed of transformers) that method and optimizer bring along."""
    lines, names = [], ["AutoModelForCausalLM"]
    if recipe.training.optim in OF_BITSANDBYTES:
        lines.append("import bitsandbytes as bnb")
    if recipe.adapter.method != "full":
        begun = ", set_peft_model_state_dict" if recipe.adapter.path is not None else ""
        lines.append(f"from peft import {CONFIGS[recipe.adapter.method]}, get_peft_model{begun}")
    if recipe.model.load_in_4bit or recipe.model.load_in_8bit:
        names.append("BitsAndBytesConfig")
    if recipe.training.lr_scheduler_type != "one_cycle":
        names.append("get_scheduler")
    if recipe.training.optim == "adafactor":
        names.append("Adafactor")
    return lines, names
