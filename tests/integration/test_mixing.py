"""Several adapters as one: what peft makes of them, sums of every method, mixtures, certificates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.tuners.lora import model as peft_lora
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from engine import cli
from engine.errors import EngineError
from engine.jobs import process
from engine.jobs.spec import create_job
from engine.models.adapter_facts import read_adapter_facts
from engine.models.facts import read_facts
from engine.models.made import read_origin
from engine.models.merging import METHODS, Mix, judge
from engine.runtime.attach import read_tensors
from engine.runtime.certify import certify_folder
from engine.runtime.changes import Sum
from engine.runtime.load import Compute
from engine.runtime.merge import merge_adapter
from engine.runtime.mixing import changes_of_mix, seed_of
from engine.runtime.mixture import load_mixture, set_mix
from engine.runtime.target import resolve_target
from tests.data.make_adapters import KINDS, REFUSED
from tests.integration.adapters import make_adapters
from tests.integration.test_chat import Child
from tests.integration.test_merge import tensors

CPU = Compute(torch.device("cpu"), torch.float32)
FAMILIES = ["dora", "adalora", "vera", "ia3", "oft", "pissa", "wholeboth", "embeddingtied"]


@pytest.fixture(scope="session")
def adapters(tiny_model: Path) -> Path:
    return make_adapters(tiny_model, *KINDS, *REFUSED)


@pytest.fixture(scope="session")
def second(adapters: Path) -> Path:
    """Return another adapter of the kind `plain`, with values of its own."""
    folder = adapters / "second-adapter"
    if not folder.exists():
        shutil.copytree(adapters / "plain-adapter", folder)
        held, random = load_file(folder / "adapter_model.safetensors"), torch.Generator().manual_seed(3)
        fresh = {k: torch.randn(v.shape, generator=random) * v.std() for k, v in held.items()}
        save_file(fresh, folder / "adapter_model.safetensors")
    return folder


def answers(model: Any) -> Tensor:
    with torch.inference_mode():
        scores: Tensor = model(input_ids=torch.arange(3, 43)[None], use_cache=False).logits[0].float()
    return scores


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def spoken(base: Path, folders: list[Path], weights: list[float], method: str = "linear") -> Tensor:
    """Return what a loaded mixture answers."""
    found = [read_adapter_facts(folder) for folder in folders]
    model = load_mixture(read_facts(base), found, weights, method, CPU)
    with model.speaking("adapter"):
        return answers(model.model)


def of_peft(adapters: Path, second: Path, weights: list[float], **options: Any) -> Any:
    """Return peft's model with the two adapters put together as `mixed`."""
    base = AutoModelForCausalLM.from_pretrained(adapters / "plain-base")
    model = peft.PeftModel.from_pretrained(base, adapters / "plain-adapter", adapter_name="a")
    model.load_adapter(second, adapter_name="b")
    model.add_weighted_adapter(["a", "b"], weights, "mixed", **options)
    model.set_adapter("mixed")
    return model.eval()


@pytest.fixture
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let peft draw for each factor from the seed that ours has for it; it asks for A, then B, by module."""
    base = "model.layers.{}.{}.weight {}"
    leaves = [*(f"self_attn.{x}_proj" for x in "qkvo"), *(f"mlp.{x}_proj" for x in ("gate", "up", "down"))]

    def names() -> Iterator[str]:
        for layer in (0, 1):
            for leaf in leaves:
                yield base.format(layer, leaf, "A")
                yield base.format(layer, leaf, "B")

    for method in ("dare_linear", "dare_ties"):
        real, order = getattr(peft_lora, method), names()

        def drawn(*args: Any, real: Any = real, order: Iterator[str] = order) -> Any:
            torch.manual_seed(seed_of(7, next(order)))
            return real(*args)

        monkeypatch.setattr(peft_lora, method, drawn)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", [[0.7, 0.4], [1.0, -0.5]])
def test_that_a_new_adapter_is_the_one_that_peft_makes(
    adapters: Path, second: Path, method: str, weights: list[float], same_draws: None
) -> None:
    thins = method not in ("linear", "cat", "svd")
    theirs = of_peft(
        adapters, second, weights, combination_type=method, **({"density": 0.6} if thins else {})
    )
    targets = [resolve_target(str(folder)) for folder in (adapters / "plain-adapter", second)]
    held = [read_tensors(target.adapter) for target in targets if target.adapter]
    mix = Mix(tuple(weights), method, density=0.6, seed=7, adapter_only=True)
    ours = changes_of_mix(targets, held, mix)
    for name, layer in theirs.get_base_model().named_modules():
        if hasattr(layer, "lora_A"):
            found, expected = ours[f"{name}.weight"], layer.get_delta_weight("mixed")
            assert isinstance(found, Sum)
            delta = found.delta(torch.zeros_like(expected), 0)
            assert apart(delta, expected) <= 2e-6 * float(expected.abs().max()), name
    assert len(ours) == 14


@pytest.mark.parametrize("method", METHODS)
def test_that_a_new_adapter_opens_in_plain_peft_and_answers_as_its_mixture_did(
    adapters: Path, second: Path, tmp_path: Path, method: str
) -> None:
    folders = [adapters / "plain-adapter", second]
    made = merge_adapter(folders, tmp_path / "new", weights=[0.7, -0.4], method=method, adapter_only=True)
    assert made["ok"] and made["fidelity"]["kind"] == "adapter"
    assert made["fidelity"]["max_logit_difference"] < 1e-3
    base = AutoModelForCausalLM.from_pretrained(adapters / "plain-base")
    model = peft.PeftModel.from_pretrained(base, tmp_path / "new").eval()
    whole = merge_adapter(folders, tmp_path / "merged", weights=[0.7, -0.4], method=method, check=False)
    merged = answers(AutoModelForCausalLM.from_pretrained(whole["out"]).eval())
    # linear into a base is the sum of the deltas; as an adapter it sums A and B apart, as peft does.
    assert (apart(answers(model), merged) < 1e-4) == (method != "linear")
    origin = read_origin(tmp_path / "new")
    assert origin["sources"]["mix"]["weights"] == [0.7, -0.4] and len(origin["sources"]["adapters"]) == 2
    facts = read_adapter_facts(tmp_path / "new")
    assert facts.r == made["r"] == (8 if method == "cat" else 4) and not facts.dropped_fields
    assert ("loss" in made) == (method != "cat")
    assert method != "svd" or 0 < made["loss"]["relative_error"] < 1
    assert "plain-adapter" in (tmp_path / "new" / "README.md").read_text()


def test_that_what_svd_loses_is_measured(adapters: Path, second: Path, tmp_path: Path) -> None:
    folders = [adapters / "plain-adapter", second]
    lost = [
        merge_adapter(folders, tmp_path / f"{r}", method="svd", svd_rank=r, adapter_only=True, check=False)
        for r in (2, 4, 8)
    ]
    errors = [made["loss"]["relative_error"] for made in lost]
    assert errors[0] > errors[1] > 0.1 and errors[2] < 1e-6
    assert [made["r"] for made in lost] == [2, 4, 8]
    exact, cut = (
        merge_adapter(folders, tmp_path / m, method=m, check=False, **o)
        for m, o in (("cat", {}), ("svd", {"svd_rank": 4}))
    )
    base = tensors(adapters / "plain-base")
    away = total = 0.0
    for name, tensor in tensors(Path(exact["out"])).items():
        away += float((tensors(Path(cut["out"]))[name] - tensor).double().square().sum())
        total += float((tensor - base[name]).double().square().sum())
    assert (away / total) ** 0.5 == pytest.approx(cut["loss"]["relative_error"], rel=1e-3)


@pytest.mark.parametrize("kind", FAMILIES)
def test_that_adapters_of_two_methods_sum_into_the_base_and_the_mixture_agrees(
    adapters: Path, tmp_path: Path, kind: str
) -> None:
    folders, base = [adapters / "plain-adapter", adapters / f"{kind}-adapter"], adapters / "plain-base"
    method = "cat" if kind == "pissa" else "linear"  # saved with its start beside it: twice the rank
    made = merge_adapter(folders, tmp_path / "merged", str(base), weights=[0.7, 0.6], method=method)
    assert made["ok"] and made["fidelity"]["max_logit_difference"] < 1e-3 and "loss" not in made
    halves = [
        merge_adapter([folder], tmp_path / f"half{n}", str(base), weights=[w], check=False)
        for n, (folder, w) in enumerate(zip(folders, (0.7, 0.6), strict=True))
    ]
    plain, whole = tensors(base), tensors(tmp_path / "merged")
    parts = [tensors(Path(half["out"])) for half in halves]
    for name, tensor in whole.items():
        own = plain.get(name, plain["model.embed_tokens.weight"])
        expected = own + sum(part.get(name, own) - own for part in parts)
        assert apart(tensor, expected) < 1e-5, name


def test_that_an_adapter_added_and_taken_away_again_leaves_the_other(
    adapters: Path, second: Path, tmp_path: Path
) -> None:
    base = str(adapters / "plain-base")
    for number, b in enumerate([second, adapters / "dora-adapter", adapters / "oft-adapter"]):
        a, out = adapters / "plain-adapter", tmp_path / f"{number}"
        merge_adapter([a, b, b], out, base, weights=[1, 1, -1], check=False)
        merge_adapter([a], tmp_path / f"alone{number}", base, check=False)
        for name, tensor in tensors(tmp_path / f"alone{number}").items():
            assert apart(tensors(out)[name], tensor) < 1e-5, name
    merge_adapter([a, second, second], tmp_path / "c", weights=[1, 1, -1], method="cat", adapter_only=True)
    assert (
        apart(
            spoken(adapters / "plain-base", [tmp_path / "c"], [1.0]),
            spoken(adapters / "plain-base", [a], [1.0]),
        )
        < 1e-5
    )


def test_that_different_ranks_are_refused_by_linear_and_exact_by_cat(adapters: Path, tmp_path: Path) -> None:
    folders, base = [adapters / "plain-adapter", adapters / "rslora-adapter"], str(adapters / "plain-base")
    for only in (False, True):
        with pytest.raises(EngineError, match="their ranks are 4, 9") as told:
            merge_adapter(folders, tmp_path / "merged", base, adapter_only=only)
        assert told.value.code == "MODEL-05" and "Use cat" in told.value.hint
    assert not (tmp_path / "merged").exists()
    merge_adapter(folders, tmp_path / "cat", base, weights=[0.5, 2], method="cat")
    whole, plain = tensors(tmp_path / "cat"), tensors(adapters / "plain-base")
    parts = [tensors(adapters / f"{kind}-peft") for kind in ("plain", "rslora")]
    for name, tensor in whole.items():
        expected = plain[name] + 0.5 * (parts[0][name] - plain[name]) + 2 * (parts[1][name] - plain[name])
        assert apart(tensor, expected) < 2e-6, name
    made = merge_adapter(folders, tmp_path / "new", base, method="cat", adapter_only=True)
    assert made["ok"] and made["r"] == 13
    judged = judge([read_adapter_facts(folder) for folder in folders], any_base=True)
    assert judged.methods["linear"] and judged.methods["ties"] and judged.methods["cat"] is None
    assert judged.resulting_rank["cat"] == 13 and judged.ranks == (4, 9)


def test_that_what_is_no_product_of_factors_is_judged_with_the_way_out(adapters: Path) -> None:
    base = read_facts(adapters / "plain-base")
    for kind in ("dora", "ia3", "oft", "wholeboth"):
        found = [read_adapter_facts(adapters / f"{k}-adapter") for k in ("plain", kind)]
        judged = judge(found, base, any_base=True)
        assert judged.methods["linear"] is None and "linear" in str(judged.methods["ties"])
        only = judge(found, base, any_base=True, adapter_only=True)
        assert all(only.methods[method] for method in METHODS), kind
    same = judge([found[0], found[0]], base, adapter_only=True)
    assert same.shared_base and same.bytes["cat"] == 2 * same.bytes["linear"] > 0
    assert judge(found, None).shared_base is False


def test_that_weights_change_live_and_the_base_beside_them_is_untouched(adapters: Path, second: Path) -> None:
    base, folders = (
        adapters / "plain-base",
        [adapters / "dora-adapter", second, adapters / "wholeboth-adapter"],
    )
    found = [read_adapter_facts(folder) for folder in folders]
    model = load_mixture(read_facts(base), found, [1.0, 1.0, 1.0], "linear", CPU)
    alone = answers(AutoModelForCausalLM.from_pretrained(base).eval())
    with model.speaking("adapter") as first:
        answers(model.model)
    set_mix(model, [0.0, 0.8, 0.5])
    with model.speaking("adapter") as who:
        assert apart(answers(model.model), spoken(base, folders, [0.0, 0.8, 0.5])) < 1e-6
    assert who != first
    with model.speaking("base") as nobody:
        assert torch.equal(answers(model.model), alone)
    assert who.startswith(f"{nobody}+")
    model.set_strength(0.5)
    with model.speaking("adapter"):
        assert apart(answers(model.model), spoken(base, folders, [0.0, 0.4, 0.25])) < 1e-6
    with pytest.raises(EngineError, match="2 weights"):
        set_mix(model, [1.0, 2.0])
    thinned = load_mixture(read_facts(base), found[1:2] * 2, [1.0, 1.0], "ties", CPU)
    set_mix(thinned, [0.3, -1.0])
    with thinned.speaking("adapter"):
        assert torch.equal(answers(thinned.model), spoken(base, [second, second], [0.3, -1.0], "ties"))


def test_that_a_mix_written_in_bf16_says_the_same_words(adapters: Path, second: Path, tmp_path: Path) -> None:
    made = merge_adapter([adapters / "plain-adapter", second], tmp_path / "merged", dtype="bf16")
    fidelity = made["fidelity"]
    assert made["ok"] and fidelity["top1_agreement"] >= 0.99
    assert 0 < fidelity["near_ties"] < fidelity["tokens"] and fidelity["top1_agreement_all"] > 0.9


def test_that_a_flipped_byte_is_found_and_named(
    adapters: Path, second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    words = ["merge", str(adapters / "plain-adapter"), str(second), "--weights", "1,0.5", "--out", str(out)]
    assert cli.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fidelity"]["passed"] and told["weights"] == [1.0, 0.5]
    assert json.loads((out / "certificate.json").read_text())["kind"] == "merged"
    assert cli.main(["certify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["certificate"]["passed"]
    for name, offset in (("model.safetensors", -5), ("model.safetensors", 30), ("tokenizer.json", 9)):
        flip(out / name, offset)
        assert cli.main(["certify", str(out), "--json"]) == 1
        found = json.loads(capsys.readouterr().out)["damaged"]
        assert [each["file"] for each in found] == [name]
        assert (found[0]["tensors"] == ["model.norm.weight"]) == (offset == -5)
        flip(out / name, offset)
    assert certify_folder(out)["ok"]
    shutil.copytree(second, tmp_path / "lost")
    shutil.move(tmp_path / "lost" / "adapter_model.safetensors", tmp_path / "elsewhere")
    (out / "generation_config.json").unlink()
    assert [each["what"] for each in certify_folder(out)["damaged"]] == ["is missing"]
    with pytest.raises(EngineError, match="not made by Tunesmith"):
        certify_folder(adapters / "plain-base")


def test_that_a_chat_answers_with_a_mixture_and_hears_new_weights(adapters: Path, second: Path) -> None:
    child, asked = (
        Child(),
        {"messages": [{"role": "user", "content": "Hello"}], "sampling": {"max_new_tokens": 3}},
    )
    try:
        child.say(command="load", target=str(adapters / "plain-base"), device="cpu")
        child.hear("loaded", "failed")
        child.say(command="mix", weights=[1])
        assert child.hear("mixed", "failed")["code"] == "CHAT-01"
        named = {"adapters": [str(adapters / "plain-adapter"), str(second)], "weights": [1, 0.5]}
        child.say(command="load", mixture=named, device="cpu")
        loaded = child.hear("loaded", "failed")
        assert loaded["adapter"] == "plain-adapter + second-adapter"
        found = []
        for weights in ([1, 0.5], [0.2, -1], [1, 0.5]):
            child.say(command="mix", weights=weights)
            print_ = child.hear("mixed", "failed")["fingerprint"]
            child.say(command="generate", who="adapter", **asked)
            found.append(child.hear("done", "failed")["fingerprint"])
            assert found[-1] == print_
        assert found[0] == found[2] != found[1] and found[0] == loaded["fingerprints"]["adapter"]
        child.say(command="generate", who="base", **asked)
        assert child.hear("done", "failed")["fingerprint"] == loaded["fingerprints"]["base"]
        child.say(command="mix", weights=[1, "two"])
        assert child.hear("mixed", "failed")["code"] == "REC-01"
    finally:
        assert child.end() == 0


def test_that_the_job_carries_every_option(adapters: Path, second: Path, tmp_path: Path) -> None:
    options = {"method": "dare_ties", "density": 0.6, "seed": 5, "adapter_only": True, "check": False}
    given = {"adapters": [str(adapters / "plain-adapter"), str(second)], "weights": [1, 2], "dtype": "bf16"}
    create_job("merge", {**given, **options, "out": str(tmp_path / "new")}, tmp_path / "job")
    assert process.start(tmp_path / "job").wait(120) == 0
    made = json.loads((tmp_path / "job" / "result.json").read_text())
    told = {k: made[k] for k in ("method", "density", "seed", "weights", "dtype", "adapter_only")}
    assert told == {
        "method": "dare_ties",
        "density": 0.6,
        "seed": 5,
        "weights": [1.0, 2.0],
        "dtype": "bfloat16",
        "adapter_only": True,
    }
    assert "fidelity" not in made and read_origin(tmp_path / "new")["sources"]["mix"]["seed"] == 5


def flip(path: Path, offset: int) -> None:
    """Turn one bit of a byte."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))
