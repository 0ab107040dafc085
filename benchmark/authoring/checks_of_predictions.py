"""Checks of scores and maps: their shapes, and that those of an image depend on that image and its class name alone."""

import torch
from torch import Tensor

from benchmark.authoring.method_under_test import (
    TOLERANCE,
    MethodUnderTest,
    compare,
    join_predictions,
    map_values,
    maps_of,
    same_features,
    take,
    take_prediction,
)
from benchmark.clip import map_features, take_asked
from benchmark.contract import ClassName, Dpam, Layer, LayerLogits, Method, VisionSpec, merge_specs
from benchmark.errors import ContractError

ODD_NAMES = tuple(
    ClassName(text, folder=folder, dataset=dataset, domain=domain)
    for text, folder, dataset, domain in (
        ("metal nut", "Metal Nut (2)", "", "custom"),
        ("Zahnrad Größe 5", "zahnrad_05", "", "custom"),
        ("歯車", "class_1", "", "custom"),
        ("gear {a} 100%", "{0} %s", "", "custom"),
        ("an object that no dataset has", "..", "no such dataset", "custom"),
        ("brain", "Brain_AD", "brainmri", "medical"),
    )
)


def references(tested: MethodUnderTest) -> str:
    """Check that the references of a class replace those of the class before."""
    if tested.method.see_references is Method.see_references:
        raise ContractError(f"shots is {tested.shots}, but the method does not define see_references")
    both, second = tested.build(shown=False), tested.build(shown=False)
    for shown in tested.given.references:
        features = tested.encode(shown)
        given = map_features(features, Tensor.clone)
        both.see_references(given)
        if not same_features(features, given):
            raise ContractError("see_references changes the features that it is given")
    second.see_references(tested.encode(tested.given.references[1]))
    names = tested.one_class
    one, other = tested.predict(both, names), tested.predict(second, names)
    compare(one, other, "after the references of two classes, and of the second alone")
    return f"{tested.shots} per class, those of the next class replace them"


def shapes(tested: MethodUnderTest) -> str:
    """Check the shapes of scores, maps and text embeddings, and that all numbers are finite."""
    built, names = tested.build(), tested.given.class_names
    found, size = tested.predict(built, names), tested.spec.image_size
    values = map_values(found)
    if max(values.shape[-2:]) > size:
        raise ContractError(f"maps of the shape {tuple(values.shape)} are larger than the images of {size} px")
    with torch.no_grad():
        texts = built.text_features(tested.features, list(names))
    for name, text in texts.items():
        if text.ndim != 3 or text.shape[:2] != (len(names), 2):
            raise ContractError(f"text_features {name!r} have the shape {tuple(text.shape)}, not ({len(names)}, 2, D)")
        if not torch.allclose(text.norm(dim=-1), torch.ones(text.shape[:2], device=text.device), atol=1e-3):
            raise ContractError(f"text_features {name!r} are not of unit length")
    low, high = (float(value) for value in torch.aminmax(found.scores.detach()))
    what = "logits of layers" if isinstance(found.maps, LayerLogits) else "maps"
    scores = f"scores {tuple(found.scores.shape)} from {low:.3g} to {high:.3g}"
    if found.top is not None:
        scores += f" plus {found.top.weight:g} × the highest {100 * found.top.share:g} % of the map"
    return f"{scores}, {what} {tuple(values.shape)}, all finite"


def determinism(tested: MethodUnderTest) -> str:
    """Check that the seed alone decides what a method draws."""
    names, found = tested.given.class_names, []
    for torch_seed in (1, 2):  # a method that draws from torch's global generator then gives different numbers
        torch.manual_seed(torch_seed)
        built = tested.build()
        found += [tested.predict(built, names), tested.predict(built, names)]
    compare(found[0], found[1], "two calls of one instance")
    compare(found[0], found[2], "two instances of the same seed")
    if not (tested.method.stochastic or tested.shots):
        compare(found[0], tested.predict(tested.build(seed=1), names), "seeds 0 and 1, though stochastic is False")
    return "the same in two calls and in two instances"


def batches(tested: MethodUnderTest) -> str:
    """Check that an image is scored alone as it is among others."""
    names, total = tested.one_class, len(tested.one_class)
    whole, gaps = tested.predict(tested.build(), names), []
    for size in (1, 3):
        built = tested.build()
        parts = [
            tested.predict(built, names[: len(rows)], take(tested.features, rows))
            for rows in (range(start, min(start + size, total)) for start in range(0, total, size))
        ]
        gaps.append(compare(whole, join_predictions(parts), f"batches of {total} and of {size}"))
    return f"of 1, 3 and {total}: differences up to {max(gaps):.1g}"


def order(tested: MethodUnderTest) -> str:
    """Check that the place of an image in the batch changes nothing."""
    names = tested.one_class
    rows = [*range(1, len(names), 2), *range(0, len(names), 2)]
    whole = tested.predict(tested.build(), names)
    other = tested.predict(tested.build(), names, take(tested.features, rows))
    gap = compare(take_prediction(whole, rows), other, "the same images in another order")
    return f"of the images changes nothing: differences up to {gap:.1g}"


def class_names(tested: MethodUnderTest) -> str:
    """Check that each image is scored by its own class name, and that any name will do."""
    names = list(tested.given.class_names)
    alike = _namesakes(names[0])
    gaps = [_mixed_as_alone(tested, each) for each in (names, [alike[row % len(alike)] for row in range(len(names))])]
    built, one = tested.build(), take(tested.features, [0])
    for name in ODD_NAMES:
        try:
            tested.predict(built, [name], one)
        except Exception as error:
            raise ContractError(f"class name {_said(name)}: {type(error).__name__}: {error}") from error
    return f"mixed as alone (up to {max(gaps):.1g}); blanks, umlauts, braces and unseen names pass"


def _namesakes(name: ClassName) -> list[ClassName]:
    """Return a class, and classes that are called the same in prompts but differ from it in one of the other facts."""
    known = {"folder": name.folder, "dataset": name.dataset, "domain": name.domain}
    others: tuple[dict[str, str], ...] = (
        {},
        {"folder": f"{name.folder}_2"},
        {"dataset": "another"},
        {"domain": "medical"},
    )
    return [ClassName(str(name), **(known | other)) for other in others]


def _mixed_as_alone(tested: MethodUnderTest, names: list[ClassName]) -> float:
    """Return how far the scores of the images of a class differ if other classes are among them."""
    gaps, mixed = [], tested.predict(tested.build(), names)
    for said in dict.fromkeys(map(_said, names)):
        rows = [row for row, name in enumerate(names) if _said(name) == said]
        alone = tested.predict(tested.build(), [names[row] for row in rows], take(tested.features, rows))
        gaps.append(compare(take_prediction(mixed, rows), alone, f"the images of {said} among others, and alone"))
    return max(gaps)


def _said(name: ClassName) -> str:
    """Return all that is known of a class."""
    return f"{str(name)!r} (folder {name.folder!r}, dataset {name.dataset!r}, {name.domain})"


def shared_pass(tested: MethodUnderTest) -> str:
    """Check that features for other methods change nothing."""
    backbone, spec = tested.backbone, tested.spec
    last, grid = backbone.blocks, spec.image_size // backbone.patch_size
    layers = (Layer(1), Layer(last), Layer(last, Dpam(1, "qq")), Layer(last, Dpam(backbone.dpam_first)))
    other = VisionSpec(
        spec.image_size, layers, cls=(1, last), windows=(grid,), tokens=layers, hidden=layers, images=True
    )
    (merged,) = merge_specs([other, spec])
    shared = take_asked(backbone.encode_images(tested.given.images, merged), spec)
    names = tested.given.class_names
    one, many = tested.predict(tested.build(), names), tested.predict(tested.build(), names, shared)
    gap = compare(one, many, "alone, and in a pass that also serves other methods")
    return f"with other methods changes nothing: differences up to {gap:.1g}"


def inputs(tested: MethodUnderTest) -> str:
    """Check that `predict` changes nothing of what it is given, and nothing that was learned."""
    built, names = tested.build(), list(tested.given.class_names)
    given = map_features(tested.features, Tensor.clone)
    learned = state_of(built)
    with torch.no_grad():
        built.predict(given, names)
    if not same_features(tested.features, given):
        raise ContractError("predict changes the features that it is given, which other methods get too")
    if names != list(tested.given.class_names):
        raise ContractError("predict changes the list of class names that it is given")
    if any(not torch.equal(value, learned[name]) for name, value in state_of(built).items()):
        raise ContractError("predict changes what was learned")
    what = "images, " if tested.spec.images else ""
    return f"features, {what}class names" + (" and what was learned" if learned else "") + " are left as they are"


def state_of(built: Method) -> dict[str, Tensor]:
    """Return a copy of what a method learned, by name; empty if it does not learn."""
    learned = getattr(built, "learned", None)
    return {name: value.clone() for name, value in learned.state_dict().items()} if learned is not None else {}


def gradients(tested: MethodUnderTest) -> str:
    """Check that scores and maps hold no gradient."""
    found = tested.predict(tested.build(), tested.given.class_names)
    values = {"scores": found.scores, "maps": map_values(found)}
    if leaking := [name for name, each in values.items() if each.requires_grad]:
        raise ContractError(f"{' and '.join(leaking)} of predict hold a gradient under torch.no_grad")
    return "predict returns plain numbers"


def class_scores(tested: MethodUnderTest) -> str:
    """Check the last step over a class: one finite score per image, whatever the order of the images."""
    if tested.method.class_scores is Method.class_scores:
        raise ContractError("scores_whole_class says True, but the method does not define class_scores")
    found = tested.predict(tested.build(), tested.one_class)
    lowest, highest = torch.aminmax(maps_of(found).flatten(1), dim=1)
    given = [each.double().cpu() for each in (found.scores, lowest, highest)]
    whole = _class_scores(tested, given)
    rows = [*range(1, len(whole), 2), *range(0, len(whole), 2)]
    gap = float((_class_scores(tested, [each[rows] for each in given]) - whole[rows]).abs().max())
    if not gap <= TOLERANCE * max(1.0, float(whole.abs().max())):
        raise ContractError(f"class_scores of the same images in another order differ by {gap:.2g}")
    _class_scores(tested, [each[:1] for each in given])  # a class may have one image
    return f"of the whole class, {len(whole)} images: from {float(whole.min()):.3g} to {float(whole.max()):.3g}"


def _class_scores(tested: MethodUnderTest, given: list[Tensor]) -> Tensor:
    images, copies = len(given[0]), [each.clone() for each in given]
    with torch.no_grad():
        scores: object = tested.build().class_scores(copies[0], copies[1], copies[2], tested.given.class_names[0])
    if not isinstance(scores, Tensor) or scores.shape != (images,) or not scores.is_floating_point():
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ContractError(f"class_scores of {images} images returns {shape}, not floating point of shape ({images},)")
    if not bool(scores.isfinite().all()):
        raise ContractError(f"class_scores of {images} images are NaN or infinite")
    if not all(map(torch.equal, given, copies)):
        raise ContractError("class_scores changes the scores or values of maps that it is given")
    return scores


def backbone(tested: MethodUnderTest) -> str:
    """Check that the backbone, and the variant of it that the method runs, are as they were."""
    for state in tested.states:
        state.require_same()
    return "is as it was before: weights, features, no gradients"
