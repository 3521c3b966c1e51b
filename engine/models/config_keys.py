"""Which keys of a config.json a family of transformers knows, read from its source; nothing is imported.

A key is known where the family's configuration class declares it, takes it by an older name, or where the
family's model reads it. All others are without effect, or have one that no file may have.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

_TYPE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_PAIR = re.compile(r"""["']([A-Za-z0-9_.\-]+)["']\s*[,:]\s*["']([A-Za-z0-9_]+)["']""")
_READ = re.compile(
    r"""\bconfig\.([a-z][a-z0-9_]*)\b|\b(?:getattr|hasattr)\(\s*(?:self\.)?\w*config,\s*["']([a-z]\w*)["']"""
)
# Keys of every configuration: numbers of tokens, older names of the dtype, how positions are turned.
COMMON = frozenset(
    "model_type architectures dtype torch_dtype tie_word_embeddings is_encoder_decoder vocab_size "
    "bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id use_cache "
    "rope_theta rope_scaling rope_parameters partial_rotary_factor rotary_pct rotary_emb_base "
    "rope_local_base_freq initializer_range layer_types sliding_window_pattern transformers_version".split()
)
# What decides which program runs, or from where something is fetched: no file of a stranger sets these.
NEVER = frozenset(
    "auto_map trust_remote_code attn_implementation experts_implementation fusion_config kernel_config "
    "use_kernels transformers_weights custom_pipelines custom_generate name_or_path backbone "
    "backbone_config backbone_kwargs use_timm_backbone use_pretrained_backbone quantization_config "
    "quantization per_layer_config id2label label2id problem_type".split()
)


def _models() -> Path | None:
    """Return the folder of the families in the installed transformers."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "models"


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, str], dict[str, str]]:
    """Return {type: name of its class} and {type: folder}, where the folder has another name."""
    root = _models()
    classes: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in ("auto_mappings.py", "configuration_auto.py"):
        path = root / "auto" / name if root else Path()
        if path.is_file():
            for kind, value in _PAIR.findall(path.read_text("utf-8")):
                if value.endswith("Config"):
                    classes.setdefault(kind, value)
                elif root and (root / value).is_dir():
                    folders.setdefault(kind, value)
    return classes, folders


@lru_cache(maxsize=64)
def folder_of(model_type: str) -> Path | None:
    """Return where the installed transformers keeps a type of model, None when it does not know it."""
    root, (classes, folders) = _models(), _tables()
    if root is None or not _TYPE.fullmatch(model_type) or model_type not in classes:
        return None
    # Some types have the class of another one, and no folder with it.
    alike = [model_type, *(kind for kind, name in classes.items() if name == classes[model_type])]
    for kind in alike:
        folder = root / folders.get(kind, kind.replace("-", "_"))
        if any(folder.glob("configuration_*.py")):
            return folder
    return None


def is_builtin(model_type: str) -> bool:
    """Return whether the installed transformers has this type of model; nothing is imported."""
    return folder_of(model_type) is not None


@lru_cache(maxsize=64)
def known_keys(model_type: str) -> frozenset[str]:
    """Return the keys that configurations of a type may have; only the common ones for an unknown type."""
    folder = folder_of(model_type)
    if folder is None:
        return COMMON
    found = set(COMMON)
    for path in sorted(folder.glob("configuration_*.py")):
        found |= _declared(path.read_text("utf-8"))
    for path in sorted(folder.glob("modeling_*.py")):
        found.update(name for pair in _READ.findall(path.read_text("utf-8")) for name in pair if name)
    return frozenset(found - NEVER)


def _declared(source: str) -> set[str]:
    """Return the names that configuration classes take: fields, arguments, older names, keys of kwargs."""
    found: set[str] = set()
    for owner in ast.walk(ast.parse(source)):
        if not isinstance(owner, ast.ClassDef):
            continue
        for node in owner.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                if getattr(node.targets[0], "id", "") in ("attribute_map", "sub_configs"):
                    found |= _texts(node.value.keys)
                if getattr(node.targets[0], "id", "") == "attribute_map":
                    found |= _texts(node.value.values)
            elif isinstance(node, ast.FunctionDef):
                found |= _taken(node)
    return found


def _taken(function: ast.FunctionDef) -> set[str]:
    """Return a constructor's arguments, and what a method takes out of its keyword arguments."""
    found: set[str] = set()
    if function.name == "__init__":
        found |= {a.arg for a in (*function.args.args, *function.args.kwonlyargs) if a.arg != "self"}
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Name) and of.id == "kwargs" and node.func.attr in ("pop", "get"):
                found |= _texts(node.args[:1])
        elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "kwargs":
            found |= _texts([node.slice])
    return found


def _texts(nodes: list[ast.expr] | list[ast.expr | None]) -> set[str]:
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
