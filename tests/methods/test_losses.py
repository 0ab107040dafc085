"""Focal and Dice losses against their formulas written out, and their properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from benchmark.contract import LayerLogits
from methods import losses
from methods.losses import (
    image_cross_entropy,
    interpolation,
    map_losses,
    probability_map_losses,
    probability_maps,
)

SHAPE = (3, 2, 4)
MAPS = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)).map(torch.from_numpy)
MASKS = arrays(np.float32, SHAPE, elements=st.sampled_from([0, 1])).map(torch.from_numpy)
TERMS = {"focal", "dice_abnormal", "dice_normal"}


def focal(probabilities: Tensor, masks: Tensor, **more: float) -> Tensor:
    """The loss of one map for each image."""
    return losses.focal(probabilities[:, None], masks, **more)


def dice(probabilities: Tensor, masks: Tensor) -> Tensor:
    """The loss of one map for each image, from its sums."""
    overlap, predicted, true = (each.sum(dim=(1, 2)) for each in (probabilities * masks, probabilities, masks))
    return losses.dice(overlap, predicted, true)


def written_out_focal(probabilities: Tensor, masks: Tensor) -> float:
    total = 0.0
    for p, target in zip(probabilities.flatten().tolist(), masks.flatten().tolist(), strict=True):
        one_hot = [min(max(float(target == k), 1e-5), 1 - 1e-5) for k in (0, 1)]
        true = one_hot[0] * (1 - p) + one_hot[1] * p + 1e-5
        total -= (1 - true) ** 2 * math.log(true)
    return total / masks.numel()


def written_out_dice(probabilities: Tensor, masks: Tensor) -> float:
    images = []
    for p, target in zip(probabilities.double().numpy(), masks.double().numpy(), strict=True):
        images.append(1 - (2 * float((p * target).sum()) + 1) / (float(p.sum()) + float(target.sum()) + 1))
    return sum(images) / len(images)


@settings(deadline=None, max_examples=60)
@given(MAPS, MASKS)
def test_values_are_those_of_the_formulas(probabilities: Tensor, masks: Tensor) -> None:
    assert focal(probabilities, masks).item() == pytest.approx(written_out_focal(probabilities, masks), abs=1e-5)
    assert dice(probabilities, masks).item() == pytest.approx(written_out_dice(probabilities, masks), abs=1e-6)


def test_the_constants_of_the_focal_loss_are_seen() -> None:
    probabilities, masks = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert focal(probabilities, masks).item() == pytest.approx(-math.log(2e-5), rel=1e-4)
    half = torch.full((1, 2, 2), 0.5)
    assert focal(half, masks, gamma=0).item() == pytest.approx(4 * focal(half, masks).item(), rel=1e-4)


@settings(deadline=None, max_examples=60)
@given(MAPS, MASKS, st.permutations(range(SHAPE[0])))
def test_losses_are_bounded_and_know_no_order(probabilities: Tensor, masks: Tensor, order: list[int]) -> None:
    assert focal(probabilities, masks).item() >= -1e-12
    assert -1e-6 <= dice(probabilities, masks).item() <= 1
    for loss in (focal, dice):
        assert loss(probabilities[order], masks[order]).item() == pytest.approx(
            loss(probabilities, masks).item(), abs=1e-6
        )


@settings(deadline=None, max_examples=30)
@given(MASKS)
def test_a_perfect_prediction_costs_nothing_and_its_opposite_much(masks: Tensor) -> None:
    assert focal(masks, masks).item() == pytest.approx(0, abs=1e-6)
    assert dice(masks, masks).item() == pytest.approx(0, abs=1e-6)
    assert focal(1 - masks, masks).item() > 10
    assert dice(1 - masks, masks).item() == pytest.approx(1 - 1 / (1 + 8), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(MASKS, MASKS)
def test_gradients_are_finite_where_probabilities_are_exactly_0_and_1(certain: Tensor, masks: Tensor) -> None:
    for loss in (focal, dice):
        probabilities = certain.clone().requires_grad_()
        value = loss(probabilities, masks)
        value.backward()
        assert value.isfinite()
        assert probabilities.grad is not None
        assert probabilities.grad.isfinite().all()


def drawn(*shape: int, seed: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values / values.norm(dim=-1, keepdim=True)


def a_layer(seed: int) -> tuple[Tensor, Tensor]:
    """Patch embeddings of a 2 × 2 grid and unit text embeddings."""
    return drawn(3, 4, 8, seed=seed) * 5, drawn(3, 2, 8, seed=seed + 100)


def a_mask(seed: int = 0) -> Tensor:
    return (torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed)) > 0.7).float()


def test_maps_are_resized_bilinearly_without_aligned_corners() -> None:
    (patches, text), masks = a_layer(0), a_mask()
    cosine = torch.einsum("bnd,bkd->bnk", patches / 5, text)
    grid = torch.sigmoid((cosine[..., 1] - cosine[..., 0]) / 0.07).reshape(3, 2, 2)
    weights = torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    abnormal = weights @ grid @ weights.T
    terms = map_losses([(patches, text)], masks, temperature=0.07)
    assert set(terms) == TERMS
    assert terms["focal"].item() == pytest.approx(written_out_focal(abnormal, masks), rel=1e-4)
    assert terms["dice_abnormal"].item() == pytest.approx(written_out_dice(abnormal, masks), abs=1e-5)
    assert terms["dice_normal"].item() == pytest.approx(written_out_dice(1 - abnormal, 1 - masks), abs=1e-5)


def test_layers_are_summed_and_the_weight_multiplies_each_term() -> None:
    layers, masks = [a_layer(seed) for seed in range(3)], a_mask()
    single = [map_losses([layer], masks, temperature=0.07) for layer in layers]
    together = map_losses(iter(layers), masks, temperature=0.07, weight=4.0)
    assert set(together) == TERMS
    for name, term in together.items():
        torch.testing.assert_close(term, 4 * sum(each[name] for each in single))


def test_all_layers_in_one_pass_have_the_values_and_gradients_of_the_formulas() -> None:
    """In double precision, with the sums over the resized maps written out, on maps and masks of unequal sides."""
    layers = [tuple(each.double().requires_grad_() for each in a_layer(seed)) for seed in range(3)]
    masks = (torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0)) > 0.7).double()

    def plainly() -> dict[str, Tensor]:
        terms = dict.fromkeys(TERMS, torch.zeros((), dtype=torch.float64))
        for patches, text in layers:
            logits = torch.nn.functional.normalize(patches, dim=-1) @ text.transpose(1, 2) / 0.07
            grid = logits.softmax(dim=-1)[..., 1].reshape(3, 1, 2, 2)
            p = torch.nn.functional.interpolate(grid, size=(6, 5), mode="bilinear")[:, 0]
            true = (masks * p + (1 - masks) * (1 - p)) * (1 - 2e-5) + 2e-5
            terms["focal"] = terms["focal"] - ((1 - true) ** 2 * true.log()).mean()
            for name, q, m in (("dice_abnormal", p, masks), ("dice_normal", 1 - p, 1 - masks)):
                ratio = (2 * (q * m).sum(dim=(1, 2)) + 1) / (q.sum(dim=(1, 2)) + m.sum(dim=(1, 2)) + 1)
                terms[name] = terms[name] + 1 - ratio.mean()
        return terms

    found, expected = map_losses(layers, masks, temperature=0.07), plainly()
    inputs = [each for layer in layers for each in layer]
    for name in TERMS:
        torch.testing.assert_close(found[name], expected[name], atol=1e-10, rtol=1e-10)
        ours, theirs = (torch.autograd.grad(terms[name], inputs, retain_graph=True) for terms in (found, expected))
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


def test_image_cross_entropy_is_that_of_the_cosines_over_the_temperature() -> None:
    image, text, labels = drawn(3, 8, seed=0), drawn(3, 2, 8, seed=1), torch.tensor([0, 1, 1])
    expected = 0.0
    for g, pair, label in zip(image, text, labels.tolist(), strict=True):
        cosines = [float(g @ t) / 0.07 for t in pair]
        expected += math.log(sum(math.exp(c) for c in cosines)) - cosines[label]
    value = image_cross_entropy(image * 3, text, labels, temperature=0.07)
    assert value.item() == pytest.approx(expected / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new"), [((3, 5), (14, 20)), ((37, 37), (518, 518)), ((9, 4), (5, 4)), ((1, 1), (3, 2))]
)
def test_maps_are_resized_as_torch_does_it(old: tuple[int, int], new: tuple[int, int]) -> None:
    """The same values, and the same gradient."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, *old, generator=generator, requires_grad=True)
    weights = torch.rand(2, *new, generator=generator)
    expected = torch.nn.functional.interpolate(maps[:, None], size=new, mode="bilinear")[:, 0]
    rows, columns = (interpolation(a, b, maps) for a, b in zip(old, new, strict=True))
    found = rows.T @ maps @ columns
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    ours, theirs = (torch.autograd.grad((each * weights).mean(), maps)[0] for each in (found, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_maps_of_logits_are_those_of_torch(aligned: bool, last: bool) -> None:
    """The same values, and the same gradient, of maps and masks of unequal sides."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) * 9).requires_grad_()
    weights = torch.rand(2, 3, 14, 20, generator=generator, dtype=torch.float64)

    def larger(maps: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(maps, size=(14, 20), mode="bilinear", align_corners=aligned)

    expected = larger(logits).sigmoid() if last else larger(logits.sigmoid())
    found = probability_maps(LayerLogits(logits, corners_aligned=aligned, softmax_last=last), (14, 20))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    ours, theirs = (torch.autograd.grad((each * weights).sum(), logits)[0] for each in (found, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


@given(arrays(np.float32, (3, 2, *SHAPE[1:]), elements=st.floats(0, 1, width=32)).map(torch.from_numpy), MASKS)
def test_losses_of_maps_of_layers_are_those_of_the_formulas(maps: Tensor, masks: Tensor) -> None:
    terms = probability_map_losses(maps, masks, dice_of=("abnormal", "normal"))
    assert list(probability_map_losses(maps, masks)) == ["focal", "dice_abnormal"]
    layers = maps.unbind(1)
    sums = {
        "focal": sum(written_out_focal(layer, masks) for layer in layers),
        "dice_abnormal": sum(written_out_dice(layer, masks) for layer in layers),
        "dice_normal": sum(written_out_dice(1 - layer, 1 - masks) for layer in layers),
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(sums, abs=2e-5)
    # By rows, each row is an image of its own.
    by_rows = probability_map_losses(maps, masks, dice_of=("abnormal", "normal"), by_rows=True)
    rows, alone = maps.transpose(1, 2).flatten(0, 1)[:, :, None], masks.flatten(0, 1)[:, None]
    as_images = probability_map_losses(rows, alone, dice_of=("abnormal", "normal"))
    for name, term in by_rows.items():
        torch.testing.assert_close(term, as_images[name], atol=1e-5, rtol=0)
