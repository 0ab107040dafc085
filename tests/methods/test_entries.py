"""Entries of published checkpoints: none is left out in silence."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmark.contract import Learner
from methods.aa_clip import AaClip
from methods.adaclip import AdaClip
from methods.anomalyclip import AnomalyClip
from methods.april_gan import AprilGan
from methods.entries import float32, numbered
from methods.mrad import read_memory

PROMPTS = {"ctx_pos": torch.zeros(1, 1, 5, 8), "ctx_neg": torch.zeros(1, 1, 5, 8)}
ADAPTERS = {
    **{f"text_adapter.{i}.fc.0.weight": torch.zeros(8, 8) for i in range(4)},
    **{f"image_adapter.layer_adapters.{i}.fc.0.weight": torch.zeros(9, 9) for i in range(3)},
    **{f"image_adapter.seg_proj.{i}.fc.weight": torch.zeros(8, 9) for i in range(4)},
    "image_adapter.det_proj.fc.weight": torch.zeros(8, 9),
}
LINEAR = {f"fc.{i}.{part}": torch.zeros(8) for i in range(4) for part in ("weight", "bias")}
ADACLIP = {
    **{f"visual_prompter.static_prompts.{i}": torch.zeros(2, 8) for i in range(3)},
    **{f"patch_token_layer.head.{i}.{part}": torch.zeros(8) for i in range(4) for part in ("weight", "bias")},
    **{f"cls_token_layer.head.0.{part}": torch.zeros(8) for part in ("weight", "bias")},
}
GAPS: list[tuple[type[Learner], Mapping[str, Tensor], str]] = [
    (AaClip, ADAPTERS, "text_adapter.1.fc.0.weight"),
    (AaClip, ADAPTERS, "image_adapter.layer_adapters.0.fc.0.weight"),
    (AaClip, ADAPTERS, "image_adapter.seg_proj.2.fc.weight"),
    (AdaClip, ADACLIP, "visual_prompter.static_prompts.1"),
    (AdaClip, ADACLIP, "patch_token_layer.head.2.bias"),
    (
        AnomalyClip,
        {**PROMPTS, **{f"compound_prompts_text.{i}": torch.zeros(4, 8) for i in range(3)}},
        "compound_prompts_text.1",
    ),
    (AprilGan, LINEAR, "fc.1.weight"),
    (AprilGan, LINEAR, "fc.2.bias"),
]


@pytest.mark.parametrize(("method", "state", "missing"), GAPS)
def test_a_gap_in_what_is_numbered_is_an_error(
    method: type[Learner], state: Mapping[str, Tensor], missing: str
) -> None:
    method.import_state(state)
    with pytest.raises(KeyError) as refused:
        method.import_state({name: each for name, each in state.items() if name != missing})
    assert refused.value.args == (missing,)


@given(numbers=st.sets(st.integers(0, 12)), least=st.integers(0, 3))
def test_numbers_are_read_in_order_or_not_at_all(numbers: set[int], least: int) -> None:
    state = {f"a.{i}.w": torch.tensor(float(i)) for i in sorted(numbers, key=str)}
    others = {"a.0.b": torch.zeros(1), "a.x.w": torch.zeros(1), "a.w": torch.zeros(1), "b.a.99.w": torch.zeros(1)}
    if numbers == set(range(max(least, len(numbers)))):
        found = numbered(state | others, "a", ".w", least=least)
        assert [int(each) for each in found] == sorted(numbers)
    else:
        with pytest.raises(KeyError, match=r"a\.\d+\.w"):
            numbered(state | others, "a", ".w", least=least)


def test_contexts_have_one_length() -> None:
    with pytest.raises(ValueError, match="ctx_pos has 5 vectors and ctx_neg 6"):
        AnomalyClip.import_state({**PROMPTS, "ctx_neg": torch.zeros(1, 1, 6, 8)})


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_what_is_learned_holds_floating_point_numbers(kind: torch.dtype) -> None:
    with pytest.raises(ValueError, match="what would be a holds"):
        float32({"a": torch.zeros(2, dtype=kind)})
    assert float32({"a": torch.ones(2, 3, dtype=torch.float16).T})["a"].is_contiguous()


@pytest.mark.parametrize(
    "changed",
    [
        {"cache_model_visa.values": torch.eye(2)[:1]},
        {"cache_patch_model_visa.keys": torch.ones(3, 9)},
        {"cache_model_visa.keys": torch.ones(2)},
        {"cache_model_visa.values": torch.ones(2)},
    ],
)
def test_a_memory_has_a_value_for_each_key(changed: dict[str, Any]) -> None:
    sizes = {"cache_model_visa": 8, "cache_patch_model_visa": 9}
    state = {f"{stem}.keys": torch.ones(2, size) for stem, size in sizes.items()}
    state |= {f"{stem}.values": torch.eye(2, dtype=torch.int64) for stem in sizes}
    assert {name: tuple(each.shape) for name, each in read_memory(state).items()} == {
        f"{bank}.{kind}": (1, size)
        for bank, size in (("images", 8), ("regions", 9))
        for kind in ("anomalous", "normal")
    }
    with pytest.raises(
        ValueError, match=f"{next(iter(changed)).rpartition('.')[0]}: keys of shape .* and values of shape"
    ):
        read_memory(state | changed)
