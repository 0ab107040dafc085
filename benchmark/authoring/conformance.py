"""What every method must hold to, whatever it computes: the contract as checks that say what they saw.

`bench check-method` runs them on a few images of the mini suite, `tests/methods/test_contract.py` on random ones. That
higher scores mean more anomalous cannot be checked without knowing the method.
"""

import inspect
import json
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from benchmark.authoring.subject import Probes, Subject, Unlike, compare, map_features, same_features, take
from benchmark.clip import Backbone
from benchmark.contract import Dpam, Layer, Learner, Method, Prediction, TrainingBatch, VisionSpec, merge_specs
from benchmark.records import tensors_to_bytes
from benchmark.registry import make_options

ODD_NAMES = ("metal nut", "Zahnrad Größe 5", "歯車", "gear {a} 100%", "an object that no dataset has")
RESERVED = ("protocol",)
"""Names that mean something else in `--set NAME.OPTION=VALUE`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found out."""

    check: str
    passed: bool
    seen: str
    mend: str = ""
    """Where to look for the cause, if it failed."""


def check_method(method: type[Method], options: Any, backbone: Backbone, probes: Probes) -> list[Finding]:
    """Run every check that applies to a method with these options.

    Where one of the first fails, on which the others build, it is the last.

    Args:
        method: need not be registered.
        options: an instance of its `Options`.
        backbone: a small one; it may be changed by a method that breaks the contract.
        probes: gives the images.
    """
    findings = [check_declaration(method)]
    if not findings[0].passed:
        return findings
    with torch.random.fork_rng(devices=[]):
        subject = Subject(method, options, backbone, probes)
        for check in _BUILT_ON:
            if check.run is not _references or subject.shots:
                findings.append(_run(check, subject, method))
                if not findings[-1].passed:
                    return findings
        learner = _LEARNER if issubclass(method, Learner) else ()
        return findings + [_run(check, subject, method) for check in (*_ANY, *learner, _BACKBONE)]


def check_declaration(method: type[Method]) -> Finding:
    """Run the check of what a method says of itself, which needs no backbone."""
    return _run(_METADATA, method, method)


def render(findings: Sequence[Finding]) -> str:
    """Return a line per finding, and a hint below each that failed."""
    lines = []
    for each in findings:
        lines.append(f"{'ok' if each.passed else 'FAILED':<8}{each.check:<13}{each.seen}")
        lines += [f"{'':<8}{'mend:':<13}{each.mend}"] if each.mend else []
    return "\n".join(lines)


# ---- how checks run


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    run: Callable[[Any], str]
    """Returns what was seen; raises if it is not as it should be."""
    mend: str


def _run(check: _Check, subject: Any, method: type[Method]) -> Finding:
    try:
        return Finding(check.name, True, check.run(subject))
    except Unlike as unlike:
        seen = str(unlike)
    except Exception as error:  # a method's own code may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == inspect.getsourcefile(method)] or frames
        place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}"
        seen = f"{type(error).__name__}: {' '.join(str(error).split())} ({place})"
    return Finding(check.name, False, seen, check.mend)


# ---- the checks


def _metadata(method: type[Method]) -> str:
    if inspect.isabstract(method):
        raise Unlike(f"it does not define {', '.join(sorted(method.__abstractmethods__))}")
    for key in ("name", "title", "paper"):
        if not (isinstance(getattr(method, key, None), str) and getattr(method, key).strip()):
            raise Unlike(f'it does not say {key}; add {key} = "…"')
    if not re.fullmatch("[a-z][a-z0-9_]*", method.name) or method.name in RESERVED:
        raise Unlike(f"name = {method.name!r}: say lower case, digits and underscores, and not {RESERVED[0]!r}")
    if not (type(method.version) is int and method.version >= 1):
        raise Unlike(f"version = {method.version!r} is no whole number from 1 on")
    if not (is_dataclass(method.Options) and method.Options.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise Unlike(f"{method.Options.__name__} is no frozen dataclass")
    names = [each.name for each in fields(method.Options)]
    _check_options(method)
    for ablation in method.ablations:
        for row, values in ablation.variants.items():
            if unknown := sorted(set(values) - set(names)):
                raise Unlike(f"ablation {ablation.name}, row {row!r}: no option {', '.join(unknown)}")
    options = f"{len(names)} options" if len(names) > 3 else f"options: {', '.join(names) or 'none'}"
    return f"{method.name}, {method.title!r}, version {method.version}, {options}"


def _check_options(method: type[Method]) -> None:
    try:
        options = method.Options()
    except TypeError as error:
        raise Unlike(f"an option has no default: {error}") from None
    make_options(method, {})  # as the command line does, which reads the types
    json.dumps(asdict(options))  # as it stands in a record
    shots = method.shots(options)
    if not (type(shots) is int and shots >= 0):
        raise Unlike(f"shots returns {shots!r}, no whole number from 0 on")
    if issubclass(method, Learner):
        for key in ("epochs", "batch_size"):
            if not isinstance(getattr(options, key, None), int):
                raise Unlike(f"it learns, but its options have no whole number {key}")


def _vision(subject: Subject) -> str:
    spec, backbone = subject.spec, subject.backbone
    if not isinstance(spec, VisionSpec):
        raise Unlike(f"vision returns a {type(spec).__name__}, not a VisionSpec")
    if subject.raw().vision() != spec:
        raise Unlike("vision returns another spec the second time")
    size, patch = spec.image_size, backbone.patch_size
    if not (isinstance(size, int) and size > 0 and size % patch == 0):
        raise Unlike(f"image_size = {size!r} is no multiple of the patches' {patch} px")
    for block in (*(layer.block for layer in spec.layers), *spec.cls):
        if not 1 <= block <= backbone.blocks:
            raise Unlike(f"block {block} is asked for; the backbone has 1 to {backbone.blocks}")
    if wrong := [side for side in spec.windows if not 1 <= side <= size // patch]:
        raise Unlike(f"windows of {wrong[0]} patches are asked for; the grid has {size // patch}")
    if issubclass(subject.method, Learner) and (spec.windows or spec.tokens):
        raise Unlike("it learns, and asks for windows or tokens, which are not kept for training")
    subject.encode(subject.probe.images[:1])
    asked = {
        "patches of block": [
            f"{each.block} ({each.dpam.attention})" if each.dpam else each.block for each in spec.layers
        ],
        "CLS of block": spec.cls,
        "windows of side": spec.windows,
    }
    parts = [f"{what} {', '.join(map(str, numbers))}" for what, numbers in asked.items() if numbers]
    return "; ".join([f"{size} px", *parts])


def _references(subject: Subject) -> str:
    if subject.method.see_references is Method.see_references:
        raise Unlike(f"it is to be shown {subject.shots} images per class, but does not define see_references")
    both, second = subject.raw(), subject.raw()
    for shown in subject.probe.shown:
        features = subject.encode(shown)
        given = map_features(features, Tensor.clone)
        both.see_references(given)
        if not same_features(features, given):
            raise Unlike("see_references changes the features that it is given")
    second.see_references(subject.encode(subject.probe.shown[1]))
    names = subject.one_class
    one, other = subject.predict(both, names), subject.predict(second, names)
    compare(one, other, "after the references of two classes, and of the second alone")
    return f"{subject.shots} per class, those of the next class replace them"


def _shapes(subject: Subject) -> str:
    built, names = subject.build(), subject.probe.class_names
    found = subject.predict(built, names)
    with torch.no_grad():
        texts = built.text_features(subject.features, list(names))
    for name, text in texts.items():
        if text.ndim != 3 or text.shape[:2] != (len(names), 2):
            raise Unlike(f"text_features {name!r} have the shape {tuple(text.shape)}, not ({len(names)}, 2, D)")
        if not torch.allclose(text.norm(dim=-1), torch.ones(text.shape[:2], device=text.device), atol=1e-3):
            raise Unlike(f"text_features {name!r} are not of unit length")
    low, high = (float(value) for value in torch.aminmax(found.scores.detach()))
    return (
        f"scores {tuple(found.scores.shape)} from {low:.3g} to {high:.3g}, maps {tuple(found.maps.shape)}, all finite"
    )


def _determinism(subject: Subject) -> str:
    names, found = subject.probe.class_names, []
    for torch_seed in (1, 2):  # what is drawn from torch's global generator differs
        torch.manual_seed(torch_seed)
        built = subject.build()
        found += [subject.predict(built, names), subject.predict(built, names)]
    compare(found[0], found[1], "two calls of one instance")
    compare(found[0], found[2], "two instances of the same seed")
    if not (subject.method.stochastic or subject.shots):
        compare(found[0], subject.predict(subject.build(seed=1), names), "seeds 0 and 1, though stochastic is False")
    return "the same in two calls and in two instances"


def _batches(subject: Subject) -> str:
    names, total = subject.one_class, len(subject.one_class)
    whole, gaps = subject.predict(subject.build(), names), []
    for size in (1, 3):
        built = subject.build()
        parts = [
            subject.predict(built, names[: len(rows)], take(subject.features, rows))
            for rows in (range(start, min(start + size, total)) for start in range(0, total, size))
        ]
        joined = Prediction(torch.cat([p.scores for p in parts]), torch.cat([p.maps for p in parts]))
        gaps.append(compare(whole, joined, f"batches of {total} and of {size}"))
    return f"of 1, 3 and {total}: differences up to {max(gaps):.1g}"


def _order(subject: Subject) -> str:
    names = subject.one_class
    rows = [*range(1, len(names), 2), *range(0, len(names), 2)]
    whole = subject.predict(subject.build(), names)
    other = subject.predict(subject.build(), names, take(subject.features, rows))
    gap = compare(Prediction(whole.scores[rows], whole.maps[rows]), other, "the same images in another order")
    return f"of the images changes nothing: differences up to {gap:.1g}"


def _class_names(subject: Subject) -> str:
    names, gaps = subject.probe.class_names, []
    mixed = subject.predict(subject.build(), names)
    for name in dict.fromkeys(names):
        rows = [row for row, each in enumerate(names) if each == name]
        alone = subject.predict(subject.build(), [name] * len(rows), take(subject.features, rows))
        here = Prediction(mixed.scores[rows], mixed.maps[rows])
        gaps.append(compare(here, alone, f"the images of {name!r} among others, and alone"))
    built, one = subject.build(), take(subject.features, [0])
    for name in ODD_NAMES:
        try:
            subject.predict(built, [name], one)
        except Exception as error:
            raise Unlike(f"class name {name!r}: {type(error).__name__}: {error}") from error
    return f"mixed as alone (up to {max(gaps):.1g}); blanks, umlauts, braces and unseen names pass"


def _shared_pass(subject: Subject) -> str:
    backbone, spec = subject.backbone, subject.spec
    last, grid = backbone.blocks, spec.image_size // backbone.patch_size
    layers = (Layer(1), Layer(last), Layer(last, Dpam(1, "qq")), Layer(last, Dpam(backbone.dpam_first)))
    other = VisionSpec(spec.image_size, layers, cls=(1, last), windows=(grid,), tokens=True)
    (merged,) = merge_specs([other, spec])
    shared = backbone.encode_images(subject.probe.images, merged)
    names = subject.probe.class_names
    one, many = subject.predict(subject.build(), names), subject.predict(subject.build(), names, shared)
    gap = compare(one, many, "alone, and in a pass that also serves other methods")
    return f"with other methods changes nothing: differences up to {gap:.1g}"


def _inputs(subject: Subject) -> str:
    built, names = subject.build(), list(subject.probe.class_names)
    given = map_features(subject.features, Tensor.clone)
    learned = _state(built)
    with torch.no_grad():
        built.predict(given, names)
    if not same_features(subject.features, given):
        raise Unlike("predict changes the features that it is given, which other methods get too")
    if names != list(subject.probe.class_names):
        raise Unlike("predict changes the list of class names that it is given")
    if any(not torch.equal(value, learned[name]) for name, value in _state(built).items()):
        raise Unlike("predict changes what was learned")
    return "features, class names" + (" and what was learned" if learned else "") + " are left as they are"


def _state(built: Method) -> dict[str, Tensor]:
    learned = getattr(built, "learned", None)
    return {name: value.clone() for name, value in learned.state_dict().items()} if learned else {}


def _gradients(subject: Subject) -> str:
    found = subject.predict(subject.build(), subject.probe.class_names)
    if leaking := [name for name in ("scores", "maps") if getattr(found, name).requires_grad]:
        raise Unlike(f"{' and '.join(leaking)} of predict hold a gradient under torch.no_grad")
    return "predict returns plain numbers"


def _losses(subject: Subject) -> str:
    learner, probe = subject.learner(), subject.probe
    parameters = dict(learner.learned.named_parameters())
    before = _state(learner)
    frozen = [name for name, each in parameters.items() if not each.requires_grad]
    if frozen or not parameters:
        raise Unlike(f"learned holds {frozen[0]}, which does not train" if frozen else "learned has no parameters")
    optimiser = learner.optimiser()
    if {id(each) for group in optimiser.param_groups for each in group["params"]} != set(map(id, parameters.values())):
        raise Unlike("the optimiser does not hold exactly the parameters of learned")
    # What the cache keeps for training.
    features = replace(map_features(subject.features, Tensor.clone), windows={}, tokens=None)
    normal = int(probe.labels.argmin())
    clean = TrainingBatch(
        take(features, [normal]), probe.class_names[normal : normal + 1], probe.labels[[normal]], probe.masks[:1] * 0
    )
    _terms(learner, clean, "one normal image")
    for _ in range(2):  # a graph that is kept fails in the second step
        terms = _terms(learner, TrainingBatch(features, probe.class_names, probe.labels, probe.masks), "a batch")
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        for name, each in parameters.items():
            if each.grad is None or not bool(each.grad.isfinite().all()):
                raise Unlike(f"{name} of learned gets {'no' if each.grad is None else 'an infinite or NaN'} gradient")
        optimiser.step()
    if all(torch.equal(value, before[name]) for name, value in _state(learner).items()):
        raise Unlike("a step of the optimiser changes nothing")
    listed = ", ".join(f"{name} {float(value.detach()):.3g}" for name, value in terms.items())
    return f"{listed}; {len(parameters)} parameters train"


def _terms(learner: Learner, batch: TrainingBatch, what: str) -> dict[str, Tensor]:
    terms = learner.losses(batch)
    if not terms or any(term.ndim for term in terms.values()):
        raise Unlike(f"losses of {what}: {'there is no term' if not terms else 'a term is not a single number'}")
    for name, term in terms.items():
        if not bool(term.isfinite()):
            raise Unlike(f"the loss {name} of {what} is {term.item():g}")
    return terms


def _state_dict(subject: Subject) -> str:
    names, one, other = subject.probe.class_names, subject.learner(), subject.learner(seed=1)
    content = tensors_to_bytes(one.learned.state_dict())
    other.learned.load_state_dict(safetensors.torch.load(content))
    gap = compare(subject.predict(one, names), subject.predict(other, names), "before saving, and after loading")
    return f"{len(content)} bytes; loaded into another instance, differences up to {gap:.1g}"


def _backbone(subject: Subject) -> str:
    for name, parameter in subject.backbone.model.named_parameters():
        if parameter.requires_grad or parameter.grad is not None:
            raise Unlike(f"{name} of the backbone {'trains' if parameter.requires_grad else 'has a gradient'}")
    if not all(map(torch.equal, subject.before, subject.towers())):
        raise Unlike("the backbone gives other features than before")
    return "is as it was before: weights, features, no gradients"


_METADATA = _Check("metadata", _metadata, "the fields and their meaning are in benchmark/contract.py, class Method")
_BUILT_ON = (
    _Check("vision", _vision, "vision() says what is needed of the backbone at hand: use its blocks, image_size, …"),
    _Check("references", _references, "see_references keeps what it is shown in place of what it was shown before"),
    _Check("shapes", _shapes, "predict returns Prediction(scores (B,), maps (B, h, w)), one of each per image"),
)
_ANY = (
    _Check(
        "determinism",
        _determinism,
        "draw in the constructor, from torch.Generator().manual_seed(seed), and declare stochastic = True",
    ),
    _Check("batches", _batches, "score each image by itself: no mean, maximum or softmax over the batch, no memory"),
    _Check("order", _order, "score each image by itself, whatever its place in the batch"),
    _Check("class names", _class_names, "class_names[i] is that of image i, and any text: build the prompt of each"),
    _Check("shared pass", _shared_pass, "take features.patches[layer] of the layers asked for, not all that are there"),
    _Check("inputs", _inputs, "no in-place operation (add_, *=, normalize with out=) on what is given"),
    _Check("gradients", _gradients, "detach what is returned; a parameter itself is no prediction"),
)
_LEARNER = (
    _Check("losses", _losses, "learned holds exactly what trains, and every part of it enters a loss that is finite"),
    _Check("state dict", _state_dict, "all that was learned or drawn by seed is a parameter or buffer of self.learned"),
)
_BACKBONE = _Check("backbone", _backbone, "the backbone is everybody's: no change of its modules, no requires_grad_")
