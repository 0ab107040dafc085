"""MRAD against golden numbers: memory, retrieval, training of both variants; beside NumPy, and whatever the batch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.golden import Golden, close, named
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.authoring.fake_gpu import DEVICE, fake_gpu
from benchmark.authoring.method_under_test import take, take_batch
from benchmark.clip.backbone import Backbone
from benchmark.contract import ClassName, Dpam, Features, Layer, Stage, TopOfMap, TrainingBatch, training_options
from benchmark.errors import BenchError
from benchmark.records.learned import load_learned
from benchmark.running.maps import at_evaluation_size
from methods import memory_bank
from methods.memory_bank import Bank, Projection, neighbourhood_means, region_keys, retrieve
from methods.mrad import Mrad, MradTf, MradTfOptions
from methods.mrad_clip import MradClip, MradClipOptions
from methods.mrad_ft import MradFt, MradFtOptions

NAMES = (ClassName("metal nut"),) * 3
METHODS = [MradTf, MradFt, MradClip]
LAYERS = {
    "region_projection.query": "patch_proj.fc.0",
    "region_projection.key": "patch_proj.fc.1",
    "image_projection.query": "image_proj.mlp1",
    "image_projection.key": "image_proj.mlp2",
    "priors.normal": "prompt_proj.mlp1",
    "priors.anomalous": "prompt_proj.mlp2",
    "prompts.normal": "prompt_learner.ctx_pos",
    "prompts.abnormal": "prompt_learner.ctx_neg",
    "prompts.deep.0": "prompt_learner.compound_prompts_text.0",
    "prompts.deep.1": "prompt_learner.compound_prompts_text.1",
}


def their_name(name: str) -> str:
    layer, _, what = name.rpartition(".")
    return LAYERS[name] if name in LAYERS else f"{LAYERS[layer]}.{what}"


@pytest.fixture
def log(numbers: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = numbers["train_log"]
    return found


@pytest.fixture
def published(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a published checkpoint and its memory, before training."""
    state = named(arrays, "init.")
    for bank, stem in (("image", "cache_model_visa"), ("patch", "cache_patch_model_visa")):
        state[f"{stem}.keys"] = arrays[f"memory.{bank}_keys"]
        state[f"{stem}.values"] = F.one_hot(arrays[f"memory.{bank}_labels"].long(), 2).float()
    return state


def imported(method: type[Mrad], backbone: Backbone, state: Mapping[str, Tensor]) -> Any:
    options, learned = method.import_state(state)
    made = method(backbone, method.Options(**options))
    load_learned(made.learned, learned)
    return made


def queries(golden: Golden, backbone: Backbone, method: Mrad, size: int = 70) -> Features:
    return backbone.encode_images(golden("anomalyclip_inputs")[f"images_{size}"].flip(3), method.vision())


def auxiliary(golden: Golden, backbone: Backbone, method: Mrad) -> TrainingBatch:
    """The nine images of the memory."""
    arrays, images = golden("mrad"), golden("anomalyclip_inputs")["images_70"]
    features = backbone.encode_images(torch.cat([images, images.transpose(2, 3), images.flip(2)]), method.vision())
    return TrainingBatch(features, NAMES * 3, arrays["aux_labels"], arrays["aux_masks"].float())


def three(golden: Golden, backbone: Backbone, method: Mrad) -> TrainingBatch:
    """The three images that the reference was trained on."""
    inputs = golden("anomalyclip_inputs")
    features = backbone.encode_images(inputs["images_70"], method.vision())
    masks = (inputs["masks"][:, 0] > 0.5) & (inputs["labels"] > 0)[:, None, None]
    return TrainingBatch(features, NAMES, inputs["labels"].long(), masks.float())


def fitted(method: Mrad, *batches: TrainingBatch) -> Any:
    with torch.no_grad():
        for batch in batches:
            method.remember(batch)
    return method


def stage_of(method: Mrad, name: str, auxiliary: str = "visa") -> Stage:
    return next(stage for stage in method.stages([auxiliary]) if stage.name == name)


def require_same_scores(found: Mrad, features: Features, arrays: dict[str, Tensor], start: str, size: int) -> None:
    with torch.no_grad():
        prediction = found.predict(features, NAMES)
        close(found.image_probability(features), arrays[f"{start}.image_prob"])
        close(found.patch_probability(features), arrays[f"{start}.patch_prob"])
    scores, maps = at_evaluation_size(prediction, image_size=size, smoothing=found.smoothing)
    close(torch.tensor(scores), arrays[f"{start}.image_score"])
    close(torch.from_numpy(maps), arrays[f"{start}.map_sigma4"])


def test_the_memory_of_nine_images_matches_the_reference(
    golden: Golden, golden_backbone: Backbone, arrays: dict[str, Tensor]
) -> None:
    method = MradTf(golden_backbone, MradTfOptions())
    learned = fitted(method, auxiliary(golden, golden_backbone, method)).learned
    for bank, name in ((learned.images, "image"), (learned.regions, "patch")):
        keys, anomalous = arrays[f"memory.{name}_keys"], arrays[f"memory.{name}_labels"] == 1
        close(bank.anomalous, keys[anomalous])
        close(bank.normal, keys[~anomalous])


@pytest.mark.parametrize("size", [70, 98])
def test_retrieval_without_training_matches_the_reference(
    golden: Golden, golden_backbone: Backbone, arrays: dict[str, Tensor], published: dict[str, Tensor], size: int
) -> None:
    method, start = imported(MradTf, golden_backbone, published), f"tf.{size}"
    features = queries(golden, golden_backbone, method, size)
    assert method.layer == Layer(6, Dpam(2))
    close(features.image_raw, arrays[f"{start}.image_embed"], 2e-5)
    if size == 70:
        close(features.tokens[method.layer], arrays[f"{start}.tokens"], 2e-5)
    close(method.patch_queries(features), arrays[f"{start}.tokens_smoothed"])
    require_same_scores(method, features, arrays, start, size)
    _, maps = at_evaluation_size(method.predict(features, NAMES), image_size=size, smoothing=0)
    close(torch.from_numpy(maps), arrays[f"{start}.map_raw"])


@pytest.mark.parametrize(("case", "start"), [("ft", "ft"), ("ftonly", "ftonly.ft")])
def test_three_steps_of_the_projections_match_the_reference(
    golden: Golden,
    golden_backbone: Backbone,
    arrays: dict[str, Tensor],
    published: dict[str, Tensor],
    log: dict[str, list[dict[str, Any]]],
    case: str,
    start: str,
) -> None:
    """At a constant rate as the first part of MRAD-CLIP, and falling as MRAD-FT."""
    method = imported(MradFt if case == "ftonly" else MradClip, golden_backbone, published)
    stage = stage_of(method, "retrieval")
    train(stage, method, three(golden, golden_backbone, method), log[case], arrays, f"{start}.", published)
    if case == "ft":
        kept = {name: each for name, each in method.learned.state_dict().items() if not name.startswith("pr")}
        tuned = MradFt(golden_backbone, MradFtOptions())
        load_learned(tuned.learned, kept)
        require_same_scores(tuned, queries(golden, golden_backbone, tuned), arrays, "ft.final", 70)


def train(
    stage: Stage,
    method: Mrad,
    batch: TrainingBatch,
    log: list[dict[str, Any]],
    arrays: dict[str, Tensor],
    start: str,
    before: dict[str, Tensor],
) -> None:
    """Take the steps of the log, and compare losses, the first gradients, and the parameters in the end."""
    optimiser, compared = stage.optimiser, 0
    assert optimiser is not None
    assert optimiser.defaults["lr"] == 4e-4
    assert optimiser.defaults["betas"] == (0.5, 0.999)
    parameters = {f"{start}{{}}.{their_name(name)}": each for name, each in method.learned.named_parameters()}
    for step, expected in enumerate(log):
        if stage.learning_rate is not None:
            optimiser.param_groups[0]["lr"] = stage.learning_rate(step, len(log))
        terms = stage.losses(batch)
        total = torch.stack(list(terms.values())).sum()
        assert total.item() == pytest.approx(expected["total"], rel=1e-5)
        wanted = {"focal": expected["focal"][-1], "dice_abnormal": expected["dice"][:2][-1]}
        wanted |= {"image": expected["image_ce"][0]} if "image_ce" in expected else {}
        wanted |= {"dice_normal": expected["dice"][2]} if len(expected["dice"]) == 3 else {}
        assert {name: term.item() for name, term in terms.items()} == pytest.approx(wanted, rel=1e-5)
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        for name, parameter in parameters.items():
            if (gradient := arrays.get(name.format(f"step{step + 1}.grad"))) is not None:
                assert parameter.grad is not None
                close(parameter.grad.reshape(gradient.shape), gradient, 2e-4 * gradient.abs().max().item())
                compared += 1
        optimiser.step()
    for name, parameter in parameters.items():
        if (expected_values := arrays.get(name.format("step3.param"))) is not None:
            first = before[name.partition("}.")[2]].reshape(expected_values.shape)
            moved = expected_values - first
            close(parameter.reshape(moved.shape) - first, moved, 3e-6 if start == "clip." else 1.5e-4)
            assert moved.abs().max() > 5e-4
            compared += 1
    assert compared == {"clip.": 16, "ft.": 12, "ftonly.ft.": 3}[start]


def test_three_steps_of_the_prompts_match_the_reference(
    golden: Golden,
    golden_backbone: Backbone,
    arrays: dict[str, Tensor],
    published: dict[str, Tensor],
    log: dict[str, list[dict[str, Any]]],
) -> None:
    """After the three steps of the projections, whose similarity dropout stays on."""
    method = imported(MradClip, golden_backbone, published | named(arrays, "ft.step3.param."))
    batch = three(golden, golden_backbone, method)
    train(stage_of(method, "prompts"), method, batch, log["clip"], arrays, "clip.", published)
    features = queries(golden, golden_backbone, method)
    require_same_scores(method, features, arrays, "clip.final", 70)
    patches = method.embeddings(features)
    tokens = method.region_tokens(features, patches)
    close(tokens, arrays["clip.final.region_tokens"])
    assert (tokens[1, 0] == 0).all()  # this image has no normal region
    close(method.text(tokens), arrays["clip.final.text"])
    close(method.text_features(features, NAMES)["text"], arrays["clip.final.text"])
    close(method.predict(features, NAMES).maps.flatten(1), arrays["clip.final.similarity"])
    assert all(parameter.grad is None for parameter in golden_backbone.model.parameters())


def test_the_prompts_leave_the_projections_and_training_leaves_the_memory(
    golden: Golden, golden_backbone: Backbone, published: dict[str, Tensor]
) -> None:
    method = imported(MradClip, golden_backbone, published)
    names = {id(parameter): name for name, parameter in method.learned.named_parameters()}
    held = [
        {names[id(each)].partition(".")[0] for group in stage.optimiser.param_groups for each in group["params"]}
        for stage in method.stages(["visa"])
        if stage.optimiser is not None
    ]
    assert held == [{"region_projection", "image_projection"}, {"prompts", "priors"}]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sizes", [(1,) * 9, (2, 2, 2, 2, 1), (4, 5)])
def test_the_memory_does_not_depend_on_the_batch_size(
    golden: Golden, golden_backbone: Backbone, method: type[Mrad], sizes: tuple[int, ...]
) -> None:
    made, other = (method(golden_backbone, method.Options()) for _ in range(2))
    batch, ends = auxiliary(golden, golden_backbone, made), np.cumsum((0, *sizes))
    fitted(made, batch)
    fitted(other, *(take_batch(batch, range(*each)) for each in pairwise(ends.tolist())))
    for name, buffer in made.learned.named_buffers():
        torch.testing.assert_close(other.learned.get_buffer(name), buffer, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_three_is_three_batches_of_one(golden: Golden, tiny: Backbone, method: type[Mrad]) -> None:
    made = remembering(method, tiny)
    features = some_features(tiny, made)
    whole = made.predict(features, NAMES)
    for place in range(3):
        alone = made.predict(take(features, [place]), NAMES[:1])
        close(alone.scores, whole.scores[[place]].detach(), 1e-6)
        close(alone.maps, whole.maps[[place]].detach(), 1e-5)


def some_features(backbone: Backbone, method: Mrad, images: int = 3) -> Features:
    size, generator = backbone.image_size, torch.Generator().manual_seed(0)
    return backbone.encode_images(torch.randn(images, 3, size, size, generator=generator), method.vision())


def remembering(method: type[Mrad], backbone: Backbone, **options: Any) -> Any:
    """A method with the memory of three images, of which the second and third are anomalous at the left."""
    made = method(backbone, method.Options(**options))
    return fitted(made, marked(backbone, made, columns=40))


def marked(backbone: Backbone, method: Mrad, *, columns: int) -> TrainingBatch:
    masks = torch.zeros(3, backbone.image_size, backbone.image_size)
    masks[1:, :, :columns] = 1
    return TrainingBatch(some_features(backbone, method), NAMES, torch.tensor([0, 1, 1]), masks)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("columns", "lacks"),
    [(1, "no anomalous region in its memory: no mask covers the middle of a patch"), (112, "no normal region")],
)
def test_a_memory_without_regions_of_either_kind_is_refused(
    tiny: Backbone, method: type[Mrad], columns: int, lacks: str
) -> None:
    made = method(tiny, method.Options())
    batch = marked(tiny, made, columns=columns)
    fitted(made, take_batch(batch, [1, 2]))
    with pytest.raises(BenchError, match=f"{made.title} has {lacks}.*choose another by --auxiliary"):
        made.predict(batch.features, NAMES)
    for stage in made.stages(["visa"])[1:]:
        with pytest.raises(BenchError, match=lacks):
            stage.losses(batch)


def test_defaults_are_those_of_the_published_scripts(tiny: Backbone) -> None:
    of_all = {"pool_counts_padding": True, "global_ln_post": False, "score_mix": 0.7}
    of_ft = {
        "region_quantile": 0.8,
        "image_quantile": 0.95,
        "dropout_by_target": False,
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 4e-4,
    }
    of_clip = {
        "context": 12,
        "deep_depth": 9,
        "deep_tokens": 4,
        "deep_prompt_half": False,
        "region_prior": "both",
        "prompt_epochs": 5,
    }
    assert asdict(MradTfOptions()) == of_all | {"no_retrieval_temperature": True}
    assert asdict(MradFtOptions()) == of_all | of_ft
    assert asdict(MradClipOptions()) == of_all | of_ft | of_clip
    tf, ft, clip = (method(tiny, method.Options()) for method in METHODS)
    assert [stage.optimiser for stage in tf.stages(["visa"])] == [None]
    tuned, (_, first, prompts) = ft.stages(["visa"])[1], clip.stages(["visa"])
    for stage, epochs in ((tuned, 1), (first, 1), (prompts, 5)):
        assert (stage.epochs, stage.batch_size, stage.augment) == (epochs, 8, None)
        assert isinstance(stage.optimiser, torch.optim.Adam)
        expected = {"lr": 4e-4, "betas": (0.5, 0.999), "weight_decay": 0}
        assert expected.items() <= stage.optimiser.defaults.items()
    assert (first.learning_rate, prompts.learning_rate) == (None, None)
    assert tuned.learning_rate is not None
    rates = [tuned.learning_rate(step, 100) for step in (0, 50, 100)]
    assert rates == pytest.approx([4e-4, (4e-4 + 1e-6) / 2, 1e-6])
    assert {method.smoothing for method in METHODS} == {4}


# --- the quirks


def test_a_temperature_of_the_retrieval_spreads_the_probabilities(tiny: Backbone) -> None:
    made, other = remembering(MradTf, tiny), remembering(MradTf, tiny, no_retrieval_temperature=False)
    features, bank = some_features(tiny, made), made.learned.regions
    cosines = made.patch_queries(features) @ torch.cat([bank.anomalous, bank.normal]).T
    close(made.patch_probability(features), cosines.softmax(dim=-1)[..., :2].sum(dim=-1))
    close(other.patch_probability(features), (cosines / 0.07).softmax(dim=-1)[..., :2].sum(dim=-1))
    assert training_options(other.options) == training_options(made.options)


@pytest.mark.parametrize("counted", [True, False])
def test_neighbourhood_means_are_those_of_squares(counted: bool) -> None:
    tokens = torch.randn(2, 36, 3, generator=torch.Generator().manual_seed(0))
    square, expected = tokens.reshape(2, 6, 6, 3).double().numpy(), np.zeros((2, 6, 6, 3))
    for row in range(6):
        for column in range(6):
            for reach in (0, 1, 2):
                inside = square[:, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
                count = (2 * reach + 1) ** 2 if counted else inside.shape[1] * inside.shape[2]
                expected[:, row, column] += inside.sum(axis=(1, 2)) / count / 3
    found = neighbourhood_means(tokens, 6, count_padding=counted)
    np.testing.assert_allclose(found.numpy(), expected.reshape(2, 36, 3), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_padding_and_layer_norm_change_the_memory_and_the_mix_does_not(tiny: Backbone, method: type[Mrad]) -> None:
    made = remembering(method, tiny)
    for options, changed in (({"pool_counts_padding": False}, "regions"), ({"global_ln_post": True}, "images")):
        other = remembering(method, tiny, **options)
        differing = {
            name.partition(".")[0]
            for name, each in made.learned.named_buffers()
            if not torch.equal(each, other.learned.get_buffer(name))
        }
        assert differing == {changed}
    assert "score_mix" not in training_options(made.options)


@pytest.mark.parametrize("mix", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_the_score_mixes_image_and_map(tiny: Backbone, method: type[Mrad], mix: float) -> None:
    made = remembering(method, tiny, score_mix=mix)
    features = some_features(tiny, made)
    found = made.predict(features, NAMES)
    torch.testing.assert_close(found.scores, mix * made.image_probability(features))
    assert found.top == TopOfMap(1 - mix, 0.01)


def test_the_dropout_follows_the_dataset_where_the_comment_is_taken_at_its_word(tiny: Backbone) -> None:
    one, other = (MradFt(tiny, MradFtOptions(dropout_by_target=each)) for each in (False, True))
    assert [one.quantile([name]) for name in ("visa", "mvtec")] == [0.8, 0.8]
    assert [other.quantile([name]) for name in ("visa", "mvtec")] == [0.8, 0.85]


def test_the_half_quirk_is_seen(golden: Golden, golden_backbone: Backbone, published: dict[str, Tensor]) -> None:
    options, learned = MradClip.import_state(published)
    found = []
    for half in (False, True):
        method = MradClip(golden_backbone, MradClipOptions(**options, deep_prompt_half=half))
        odd = {name: each * 1.001 if ".deep." in name else each for name, each in learned.items()}  # no float16
        load_learned(method.learned, odd)
        found.append(method.text(torch.zeros(1, 2, golden_backbone.width)))
    assert 0 < (found[0] - found[1]).abs().max() < 1e-2


@pytest.mark.parametrize("prior", ["both", "normal", "anomalous", "none"])
def test_region_tokens_change_the_prompts_that_they_are_added_to(tiny: Backbone, prior: str) -> None:
    method = MradClip(tiny, MradClipOptions(region_prior=prior))
    tokens = torch.randn(2, 2, tiny.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        text = method.text(tokens)
    differs = [bool((text[0, place] - text[1, place]).abs().max() > 1e-5) for place in (0, 1)]
    assert differs == [prior in ("both", kind) for kind in ("normal", "anomalous")]
    assert set(method.learned.priors) == {kind for kind in ("normal", "anomalous") if prior in ("both", kind)}


# --- retrieval


@st.composite
def banks(draw: st.DrawFn) -> tuple[Bank, Tensor]:
    """A memory of a few keys, and queries."""
    sizes = draw(st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    anomalous, normal, sought = (F.normalize(torch.randn(n, 5, generator=generator), dim=1) for n in sizes)
    bank = Bank(5)
    bank.add(anomalous=anomalous, normal=normal)
    return bank, sought


@given(banks(), st.floats(0, 1), st.floats(0.01, 10))
def test_retrieval_is_the_share_of_the_anomalous_keys_in_a_softmax(
    drawn: tuple[Bank, Tensor], quantile: float, temperature: float
) -> None:
    bank, sought = drawn
    keys = torch.cat([bank.normal, bank.anomalous]).numpy()
    for q in (None, quantile):
        cosines = sought.numpy() @ keys.T
        weights = np.exp((cosines / temperature).astype(np.float64))
        if q is not None:
            limit = np.quantile(cosines, np.float32(q), axis=1, keepdims=True)
            assume(not np.any((np.abs(cosines - limit) < 1e-6) & (cosines != limit)))  # rounding decides there
            weights[cosines > limit] = 0
        expected = weights[:, len(bank.normal) :].sum(axis=1) / weights.sum(axis=1)
        found = retrieve(sought, bank, quantile=q, temperature=temperature)
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


@settings(max_examples=25)
@given(banks(), st.integers(1, 40), st.sampled_from([None, 0.8]))
def test_the_number_of_similarities_at_a_time_changes_no_number_and_no_gradient(
    drawn: tuple[Bank, Tensor], at_once: int, quantile: float | None
) -> None:
    bank, sought = drawn
    found = []
    for limit in (memory_bank.AT_ONCE, at_once):
        projection = Projection(5, 4, generator=torch.Generator().manual_seed(0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory_bank, "AT_ONCE", limit)
            values = retrieve(sought[None], bank, projection=projection, quantile=quantile)
            values.square().sum().backward()
        assert values.shape == (1, len(sought))
        found.append([values.detach(), *(parameter.grad for parameter in projection.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


class Largest(TorchDispatchMode):
    """Keeps the largest number of elements of a tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.elements = max(self.elements, *(each.numel() for each in tensors_of(found)), 0)
        return found


def tensors_of(found: Any) -> Iterator[Tensor]:
    for each in found if isinstance(found, tuple | list) else [found]:
        if isinstance(each, Tensor):
            yield each


@pytest.mark.parametrize("quantile", [None, 0.8])
def test_no_more_similarities_are_in_memory_than_at_once(monkeypatch: pytest.MonkeyPatch, quantile: float) -> None:
    monkeypatch.setattr(memory_bank, "AT_ONCE", 4000)
    bank, projection = Bank(2), Projection(2, 2, generator=torch.Generator())
    bank.add(anomalous=torch.randn(200, 2), normal=torch.randn(200, 2))
    kept: list[int] = []
    with Largest() as seen:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved: (kept.append(saved.numel()), saved)[1], lambda x: x
        ):
            total = retrieve(torch.randn(2, 300, 2), bank, projection=projection, quantile=quantile).sum()
        total.backward()
    assert 2000 < seen.elements <= 4000
    assert sum(kept) < 10_000  # for the gradients, of 240,000 similarities


def test_a_region_is_a_unit_mean_and_an_empty_one_leaves_no_key() -> None:
    tokens = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    inside = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]]).bool()
    expected = torch.stack([F.normalize(tokens[i][inside[i]].mean(dim=0), dim=0) for i in (0, 2)])
    torch.testing.assert_close(region_keys(tokens, inside), expected)


def test_only_patches_that_the_mask_covers_wholly_or_not_at_all_are_remembered(tiny: Backbone) -> None:
    """Of 8 × 8 patches of 14 px, the edges at 35 px go through those of row and column 2."""
    method = MradTf(tiny, MradTfOptions())
    batch = marked(tiny, method, columns=0)
    left, place = torch.arange(112) < 35, torch.arange(8)
    batch.masks[1], batch.masks[2] = left | left[:, None], left & left[:, None]
    fitted(method, batch)
    before, after = place < 2, place > 2
    expected = {
        "anomalous": (before | before[:, None], before & before[:, None]),
        "normal": (after & after[:, None], after | after[:, None]),
    }
    means = method.means(batch.features)
    for kind, regions in expected.items():
        keys = method.learned.regions.get_buffer(kind)
        for image, region in enumerate(regions, start=1):
            mean = F.normalize(means[image, region.flatten()].mean(dim=0), dim=0)
            torch.testing.assert_close(keys[image - 3], mean)
    torch.testing.assert_close(method.learned.regions.normal[0], F.normalize(means[0].mean(dim=0), dim=0))


# --- towers of other sizes, and published files


@pytest.mark.parametrize("method", METHODS)
def test_scores_and_losses_stay_on_the_gpu(tiny: Backbone, method: type[Mrad]) -> None:
    """With a memory that is there already: how many regions there are to remember, a pretended GPU cannot tell."""
    with fake_gpu(tiny, "float16") as there:
        made = method(there, method.Options())
        for bank in (made.learned.images, made.learned.regions):
            bank.add(anomalous=torch.empty(3, bank.normal.shape[1], device=DEVICE), normal=bank.normal)
        size = there.image_size
        features = there.encode_images(torch.empty(2, 3, size, size), made.vision())
        with pytest.raises(BenchError, match="no normal region"):
            made.predict(features, NAMES[:2])
        for bank in (made.learned.images, made.learned.regions):
            bank.add(anomalous=bank.anomalous, normal=torch.empty(5, bank.normal.shape[1], device=DEVICE))
        labels, masks = torch.zeros(2, dtype=torch.int64, device=DEVICE), torch.empty(2, size, size, device=DEVICE)
        found = made.predict(features, NAMES[:2])
        results = [found.scores, found.maps]
        for stage in made.stages(["visa"])[1:]:
            results += stage.losses(TrainingBatch(features, NAMES[:2], labels, masks)).values()
        assert {each.device.type for each in results} == {DEVICE}


def test_what_is_learned_has_the_widths_of_the_towers(tiny: Backbone) -> None:
    method = MradClip(tiny, MradClipOptions())
    shapes = {name: tuple(each.shape) for name, each in method.learned.state_dict().items()}
    vision, joint, text = tiny.vision_width, tiny.width, tiny.text_width
    assert shapes["regions.normal"] == (0, vision)
    assert shapes["images.normal"] == (0, joint)
    assert shapes["region_projection.query.weight"] == shapes["region_projection.key.weight"] == (joint, vision)
    assert shapes["image_projection.key.weight"] == (joint, joint)
    assert shapes["priors.normal.weight"] == (text, joint)
    assert shapes["prompts.normal"] == (12, text)
    assert not [name for name in shapes if name.endswith("key.bias")]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("missing", ["cache_patch_model_visa.keys", "cache_model_visa.values", "every key of images"])
def test_a_published_memory_must_be_whole(published: dict[str, Tensor], method: type[Mrad], missing: str) -> None:
    left = {name: each for name, each in published.items() if name != missing}
    if missing not in published:
        left = {name: each for name, each in published.items() if not name.startswith("cache_model")}
    with pytest.raises(KeyError, match="cache_"):
        method.import_state(left)


@pytest.mark.parametrize(
    ("method", "missing"),
    [(MradFt, "patch_proj.fc.1.weight"), (MradClip, "prompt_proj.mlp2.bias"), (MradClip, "prompt_learner.ctx_neg")],
)
def test_a_published_checkpoint_must_be_whole(published: dict[str, Tensor], method: type[Mrad], missing: str) -> None:
    with pytest.raises(KeyError, match=missing.rpartition("learner.")[2]):
        method.import_state({name: each for name, each in published.items() if name != missing})


def test_the_seed_draws_the_projections_and_no_memory(tiny: Backbone) -> None:
    first, again, other = (MradClip(tiny, MradClipOptions(), seed=seed).learned.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(len(first[name]) == 0 or not torch.equal(first[name], other[name]) for name in first)
    assert not MradTf.stochastic
    assert not list(MradTf(tiny, MradTfOptions()).learned.parameters())
