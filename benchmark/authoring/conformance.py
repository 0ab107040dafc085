"""The checks of the contract: what every method must satisfy, whatever it computes.

`bench check-method` runs them on a few images of the mini suite, `tests/methods/test_contract.py` on random images.
The checks cannot find out whether a higher score means a more anomalous image.
"""

import inspect
import json
import re
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from benchmark.authoring.check_images import ImageSource
from benchmark.authoring.fake_gpu import run_on_fake_gpu
from benchmark.authoring.findings import Check, Finding, run_check
from benchmark.authoring.method_under_test import (
    TOLERANCE,
    MethodUnderTest,
    compare,
    same_features,
    take,
    take_batch,
)
from benchmark.clip import Backbone, map_features
from benchmark.contract import Dpam, Layer, Learner, Method, Prediction, TrainingBatch, VisionSpec, merge_specs
from benchmark.errors import ContractError
from benchmark.records import tensors_to_bytes
from benchmark.registry import make_options

ODD_NAMES = ("metal nut", "Zahnrad Größe 5", "歯車", "gear {a} 100%", "an object that no dataset has")
RESERVED = ("protocol",)
"""Names that have another meaning in `--set NAME.OPTION=VALUE`."""


def check_method(method: type[Method], options: Any, backbone: Backbone, source: ImageSource) -> list[Finding]:
    """Run every check that applies to a method with these options.

    The first checks (metadata, vision, references, shapes) are needed by the others: if one of them fails, no further
    check is run.

    Args:
        method: The method's class. It does not have to be registered.
        options: Instance of the method's `Options`.
        backbone: A small backbone. A method that breaks the contract may change it.
        source: Returns the images of the check, for instance `random_images`.
    """
    findings = [check_declaration(method)]
    if not findings[0].passed:
        return findings
    with torch.random.fork_rng(devices=[]):
        tested = MethodUnderTest(method, options, backbone, source)
        for check in _FIRST:
            if check.run is not _references or tested.shots:
                findings.append(run_check(check, tested, method))
                if not findings[-1].passed:
                    return findings
        learner = _LEARNERS if issubclass(method, Learner) else ()
        return findings + [run_check(check, tested, method) for check in (*_EVERY_METHOD, *learner, _BACKBONE)]


def check_declaration(method: type[Method]) -> Finding:
    """Check the attributes that a method declares. This check needs no backbone."""
    return run_check(_METADATA, method, method)


# ---- the checks


def _metadata(method: type[Method]) -> str:
    if inspect.isabstract(method):
        raise ContractError(f"it does not define {', '.join(sorted(method.__abstractmethods__))}")
    for key in ("name", "title", "paper"):
        if not (isinstance(getattr(method, key, None), str) and getattr(method, key).strip()):
            raise ContractError(f'it does not say {key}; add {key} = "…"')
    if not re.fullmatch("[a-z][a-z0-9_]*", method.name) or method.name in RESERVED:
        raise ContractError(f"name = {method.name!r}: say lower case, digits and underscores, and not {RESERVED[0]!r}")
    if not (type(method.version) is int and method.version >= 1):
        raise ContractError(f"version = {method.version!r} is not an integer of at least 1")
    if not (is_dataclass(method.Options) and method.Options.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise ContractError(f"{method.Options.__name__} is no frozen dataclass")
    names = [each.name for each in fields(method.Options)]
    _check_options(method)
    for ablation in method.ablations:
        for row, values in ablation.variants.items():
            if unknown := sorted(set(values) - set(names)):
                raise ContractError(f"ablation {ablation.name}, row {row!r}: no option {', '.join(unknown)}")
    options = f"{len(names)} options" if len(names) > 3 else f"options: {', '.join(names) or 'none'}"
    return f"{method.name}, {method.title!r}, version {method.version}, {options}"


def _check_options(method: type[Method]) -> None:
    try:
        options = method.Options()
    except TypeError as error:
        raise ContractError(f"an option has no default: {error}") from None
    make_options(method, {})  # as the command line does, which reads the types
    json.dumps(asdict(options))  # as in a record
    shots = method.shots(options)
    if not (type(shots) is int and shots >= 0):
        raise ContractError(f"shots returns {shots!r}, not an integer of at least 0")
    if issubclass(method, Learner):
        for key in ("epochs", "batch_size"):
            if not isinstance(getattr(options, key, None), int):
                raise ContractError(f"it learns, but its options have no integer {key}")


def _vision(tested: MethodUnderTest) -> str:
    spec = tested.spec
    _check_spec(tested, spec, "vision")
    if tested.build_without_references().vision() != spec:
        raise ContractError("vision returns another spec the second time")
    tested.encode(tested.given.images[:1])
    if not issubclass(tested.method, Learner):
        return _asked(spec)
    learning = tested.training_spec
    _check_spec(tested, learning, "training_vision")
    if tested.build_learner().training_vision() != learning:
        raise ContractError("training_vision returns another spec the second time")
    if learning.windows or learning.tokens:
        raise ContractError("training_vision asks for windows or tokens, which are not stored for training")
    return _asked(spec) if learning == spec else f"{_asked(spec)}; to learn: {_asked(learning)}"


def _check_spec(tested: MethodUnderTest, spec: VisionSpec, name: str) -> None:
    if not isinstance(spec, VisionSpec):
        raise ContractError(f"{name} returns a {type(spec).__name__}, not a VisionSpec")
    backbone, size, patch = tested.backbone, spec.image_size, tested.backbone.patch_size
    if not (isinstance(size, int) and size > 0 and size % patch == 0):
        raise ContractError(f"image_size = {size!r} of {name} is no multiple of the patches' {patch} px")
    for block in (*(layer.block for layer in spec.layers), *spec.cls):
        if not 1 <= block <= backbone.blocks:
            raise ContractError(f"{name} asks for block {block}; the backbone has 1 to {backbone.blocks}")
    if wrong := [side for side in spec.windows if not 1 <= side <= size // patch]:
        raise ContractError(f"{name} asks for windows of {wrong[0]} patches; the grid has {size // patch}")


def _asked(spec: VisionSpec) -> str:
    asked = {
        "patches of block": [
            f"{each.block} ({each.dpam.attention})" if each.dpam else each.block for each in spec.layers
        ],
        "CLS of block": spec.cls,
        "windows of side": spec.windows,
    }
    parts = [f"{what} {', '.join(map(str, numbers))}" for what, numbers in asked.items() if numbers]
    return "; ".join([f"{spec.image_size} px", *parts])


def _references(tested: MethodUnderTest) -> str:
    if tested.method.see_references is Method.see_references:
        raise ContractError(f"shots is {tested.shots}, but the method does not define see_references")
    both, second = tested.build_without_references(), tested.build_without_references()
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


def _shapes(tested: MethodUnderTest) -> str:
    built, names = tested.build(), tested.given.class_names
    found = tested.predict(built, names)
    with torch.no_grad():
        texts = built.text_features(tested.features, list(names))
    for name, text in texts.items():
        if text.ndim != 3 or text.shape[:2] != (len(names), 2):
            raise ContractError(f"text_features {name!r} have the shape {tuple(text.shape)}, not ({len(names)}, 2, D)")
        if not torch.allclose(text.norm(dim=-1), torch.ones(text.shape[:2], device=text.device), atol=1e-3):
            raise ContractError(f"text_features {name!r} are not of unit length")
    low, high = (float(value) for value in torch.aminmax(found.scores.detach()))
    return (
        f"scores {tuple(found.scores.shape)} from {low:.3g} to {high:.3g}, maps {tuple(found.maps.shape)}, all finite"
    )


def _determinism(tested: MethodUnderTest) -> str:
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


def _batches(tested: MethodUnderTest) -> str:
    names, total = tested.one_class, len(tested.one_class)
    whole, gaps = tested.predict(tested.build(), names), []
    for size in (1, 3):
        built = tested.build()
        parts = [
            tested.predict(built, names[: len(rows)], take(tested.features, rows))
            for rows in (range(start, min(start + size, total)) for start in range(0, total, size))
        ]
        joined = Prediction(torch.cat([p.scores for p in parts]), torch.cat([p.maps for p in parts]))
        gaps.append(compare(whole, joined, f"batches of {total} and of {size}"))
    return f"of 1, 3 and {total}: differences up to {max(gaps):.1g}"


def _order(tested: MethodUnderTest) -> str:
    names = tested.one_class
    rows = [*range(1, len(names), 2), *range(0, len(names), 2)]
    whole = tested.predict(tested.build(), names)
    other = tested.predict(tested.build(), names, take(tested.features, rows))
    gap = compare(Prediction(whole.scores[rows], whole.maps[rows]), other, "the same images in another order")
    return f"of the images changes nothing: differences up to {gap:.1g}"


def _class_names(tested: MethodUnderTest) -> str:
    names, gaps = tested.given.class_names, []
    mixed = tested.predict(tested.build(), names)
    for name in dict.fromkeys(names):
        rows = [row for row, each in enumerate(names) if each == name]
        alone = tested.predict(tested.build(), [name] * len(rows), take(tested.features, rows))
        here = Prediction(mixed.scores[rows], mixed.maps[rows])
        gaps.append(compare(here, alone, f"the images of {name!r} among others, and alone"))
    built, one = tested.build(), take(tested.features, [0])
    for name in ODD_NAMES:
        try:
            tested.predict(built, [name], one)
        except Exception as error:
            raise ContractError(f"class name {name!r}: {type(error).__name__}: {error}") from error
    return f"mixed as alone (up to {max(gaps):.1g}); blanks, umlauts, braces and unseen names pass"


def _shared_pass(tested: MethodUnderTest) -> str:
    backbone, spec = tested.backbone, tested.spec
    last, grid = backbone.blocks, spec.image_size // backbone.patch_size
    layers = (Layer(1), Layer(last), Layer(last, Dpam(1, "qq")), Layer(last, Dpam(backbone.dpam_first)))
    other = VisionSpec(spec.image_size, layers, cls=(1, last), windows=(grid,), tokens=True)
    (merged,) = merge_specs([other, spec])
    shared = backbone.encode_images(tested.given.images, merged)
    names = tested.given.class_names
    one, many = tested.predict(tested.build(), names), tested.predict(tested.build(), names, shared)
    gap = compare(one, many, "alone, and in a pass that also serves other methods")
    return f"with other methods changes nothing: differences up to {gap:.1g}"


def _inputs(tested: MethodUnderTest) -> str:
    built, names = tested.build(), list(tested.given.class_names)
    given = map_features(tested.features, Tensor.clone)
    learned = _state(built)
    with torch.no_grad():
        built.predict(given, names)
    if not same_features(tested.features, given):
        raise ContractError("predict changes the features that it is given, which other methods get too")
    if names != list(tested.given.class_names):
        raise ContractError("predict changes the list of class names that it is given")
    if any(not torch.equal(value, learned[name]) for name, value in _state(built).items()):
        raise ContractError("predict changes what was learned")
    return "features, class names" + (" and what was learned" if learned else "") + " are left as they are"


def _state(built: Method) -> dict[str, Tensor]:
    learned = getattr(built, "learned", None)
    return {name: value.clone() for name, value in learned.state_dict().items()} if learned else {}


def _gradients(tested: MethodUnderTest) -> str:
    found = tested.predict(tested.build(), tested.given.class_names)
    if leaking := [name for name in ("scores", "maps") if getattr(found, name).requires_grad]:
        raise ContractError(f"{' and '.join(leaking)} of predict hold a gradient under torch.no_grad")
    return "predict returns plain numbers"


def _losses(tested: MethodUnderTest) -> str:
    learner = tested.build_learner()
    parameters = dict(learner.learned.named_parameters())
    before = _state(learner)
    frozen = [name for name, each in parameters.items() if not each.requires_grad]
    if frozen or not parameters:
        raise ContractError(f"learned holds {frozen[0]}, which is frozen" if frozen else "learned has no parameters")
    optimiser = learner.optimiser()
    if {id(each) for group in optimiser.param_groups for each in group["params"]} != set(map(id, parameters.values())):
        raise ContractError("the optimiser does not hold exactly the parameters of learned")
    batch = tested.training_batch
    _terms(learner, take_batch(batch, [int(batch.labels.argmin())]), "one normal image")
    if learner.divisible:
        _require_means(learner, batch)
    for _ in range(2):  # a method that keeps the graph of the first step fails in the second
        terms = _terms(learner, batch, "a batch")
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        for name, each in parameters.items():
            if each.grad is None or not bool(each.grad.isfinite().all()):
                raise ContractError(
                    f"{name} of learned gets {'no' if each.grad is None else 'an infinite or NaN'} gradient"
                )
        optimiser.step()
    if all(torch.equal(value, before[name]) for name, value in _state(learner).items()):
        raise ContractError("a step of the optimiser changes nothing")
    listed = ", ".join(f"{name} {float(value.detach()):.3g}" for name, value in terms.items())
    return f"{listed}; {len(parameters)} parameters train"


def _require_means(learner: Learner, batch: TrainingBatch) -> None:
    """Compare the losses of a batch with the means of those of two parts, of two images and of the others."""
    places, sums = range(len(batch.class_names)), dict[str, float]()
    for rows in (list(places[:2]), list(places[2:])):
        for name, term in _terms(learner, take_batch(batch, rows), f"{len(rows)} images").items():
            sums[name] = sums.get(name, 0.0) + term.item() * len(rows) / len(places)
    for name, term in _terms(learner, batch, "a batch").items():
        if not abs(term.item() - sums.get(name, 0.0)) <= TOLERANCE * max(1.0, abs(term.item())):
            raise ContractError(f"the loss {name} is not a mean over the images, as `divisible = True` says that it is")


def _terms(learner: Learner, batch: TrainingBatch, what: str) -> dict[str, Tensor]:
    terms = learner.losses(batch)
    if not terms or any(term.ndim for term in terms.values()):
        raise ContractError(f"losses of {what}: {'there is no term' if not terms else 'a term is not a single number'}")
    for name, term in terms.items():
        if not bool(term.isfinite()):
            raise ContractError(f"the loss {name} of {what} is {term.item():g}")
    return terms


def _state_dict(tested: MethodUnderTest) -> str:
    names, one, other = tested.given.class_names, tested.build_learner(), tested.build_learner(seed=1)
    content = tensors_to_bytes(one.learned.state_dict())
    other.learned.load_state_dict(safetensors.torch.load(content))
    gap = compare(tested.predict(one, names), tested.predict(other, names), "before saving, and after loading")
    return f"{len(content)} bytes; loaded into another instance, differences up to {gap:.1g}"


def _backbone(tested: MethodUnderTest) -> str:
    for name, parameter in tested.backbone.model.named_parameters():
        if parameter.requires_grad or parameter.grad is not None:
            raise ContractError(f"{name} of the backbone {'trains' if parameter.requires_grad else 'has a gradient'}")
    if not all(map(torch.equal, tested.backbone_outputs_before, tested.backbone_outputs())):
        raise ContractError("the backbone gives other features than before")
    return "is as it was before: weights, features, no gradients"


_METADATA = Check("metadata", _metadata, "the fields and their meaning are in benchmark/contract.py, class Method")
_FIRST = (
    Check("vision", _vision, "vision() depends on the backbone: use its blocks, image_size, …"),
    Check("references", _references, "see_references replaces what it kept before by the references that it is given"),
    Check("shapes", _shapes, "predict returns Prediction(scores (B,), maps (B, h, w)), one of each per image"),
)
_EVERY_METHOD = (
    Check(
        "determinism",
        _determinism,
        "draw in the constructor, from torch.Generator().manual_seed(seed), and declare stochastic = True",
    ),
    Check("batches", _batches, "score each image by itself: no mean or softmax over the batch, nothing remembered"),
    Check("order", _order, "score each image by itself, whatever its place in the batch"),
    Check("class names", _class_names, "class_names[i] is that of image i, and any text: build the prompt of each"),
    Check("shared pass", _shared_pass, "take features.patches[layer] of your own layers; the features may hold more"),
    Check("inputs", _inputs, "use no in-place operation (add_, *=, normalize with out=) on the arguments"),
    Check("gradients", _gradients, "detach the scores and maps; do not return a parameter itself"),
    Check(
        "GPU",
        run_on_fake_gpu,
        "make new tensors on the device of the features: features.image.new_zeros(…), device=self.backbone.device",
    ),
)
_LEARNERS = (
    Check(
        "losses",
        _losses,
        "learned holds exactly what trains; each parameter enters a loss, each loss is finite; losses read what "
        "training_vision asks for and nothing else, and masks only if needs_masks is True",
    ),
    Check("state dict", _state_dict, "whatever is learned or drawn by seed is a parameter or buffer of self.learned"),
)
_BACKBONE = Check(
    "backbone", _backbone, "all methods share the backbone: leave its modules and their requires_grad alone"
)
