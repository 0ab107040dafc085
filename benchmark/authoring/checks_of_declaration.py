"""Checks of what a method declares: names, options, and the features that it asks for."""

import inspect
import json
import re
from dataclasses import asdict, fields, is_dataclass

from benchmark.authoring.method_under_test import MethodUnderTest
from benchmark.clip import Backbone
from benchmark.common import year_in
from benchmark.contract import BackboneVariant, Layer, Learner, Method, VisionSpec
from benchmark.errors import ContractError
from benchmark.registry import make_options

RESERVED = ("protocol",)
"""Names that have another meaning in `--set NAME.OPTION=VALUE`."""
_LAYERS = ("layers", "tokens", "hidden")


def metadata(method: type[Method]) -> str:
    """Check name, title, paper, version, options and ablations."""
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
    year = year_in(method.paper) or "no year in paper"
    return f"{method.name}, {method.title!r}, version {method.version}, {options}, {year}"


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
    if issubclass(method, Learner) and method.stages is Learner.stages:
        if missing := [each for each in ("optimiser", "losses") if getattr(method, each) is getattr(Learner, each)]:
            raise ContractError(f"it learns, but does not define {' and '.join(missing)}, and no stages")
        for key in ("epochs", "batch_size"):
            if not isinstance(getattr(options, key, None), int):
                raise ContractError(f"it learns in one stage, but its options have no integer {key}")


def vision(tested: MethodUnderTest) -> str:
    """Check the variant of the backbone and the features that are asked for."""
    variant, spec = tested.variant, tested.spec
    check_spec(tested.backbone, spec, "vision")
    if tested.new().vision() != spec:
        raise ContractError("vision returns another spec the second time")
    tested.encode(tested.given.images[:1])
    said = [f"{key}={value}" for key, value in asdict(variant).items() if value != getattr(BackboneVariant(), key)]
    return "; ".join([asked(spec), *(["backbone with " + ", ".join(said)] if said else [])])


def check_spec(backbone: Backbone, spec: VisionSpec, name: str) -> None:
    """Check that a specification can be asked of a backbone; its name is for messages."""
    if not isinstance(spec, VisionSpec):
        raise ContractError(f"{name} returns a {type(spec).__name__}, not a VisionSpec")
    size, patch = spec.image_size, backbone.patch_size
    if not (isinstance(size, int) and size > 0 and size % patch == 0):
        raise ContractError(f"image_size = {size!r} of {name} is no multiple of the patches' {patch} px")
    for kind in _LAYERS:
        given = getattr(spec, kind)
        if not (isinstance(given, tuple) and all(isinstance(each, Layer) for each in given)):
            raise ContractError(f"{kind} = {given!r} of {name} is no tuple of Layer")
    layers = [layer for kind in _LAYERS for layer in getattr(spec, kind)]
    for block in (*(layer.block for layer in layers), *(each.dpam.first for each in layers if each.dpam), *spec.cls):
        if not 1 <= block <= backbone.blocks:
            raise ContractError(f"{name} asks for block {block}; the backbone has 1 to {backbone.blocks}")
    if wrong := [side for side in spec.windows if not 1 <= side <= size // patch]:
        raise ContractError(f"{name} asks for windows of {wrong[0]} patches; the grid has {size // patch}")
    if not spec.encoded and (layers or spec.cls or spec.windows or not spec.images):
        raise ContractError(f"{name} leaves out CLIP's own pass by encoded=False, so it can ask for images alone")


def asked(spec: VisionSpec) -> str:
    """Return what a specification asks for, in words."""
    numbers = {
        "patches of block": _listed(spec.layers),
        "tokens of block": _listed(spec.tokens),
        "hidden tokens of block": _listed(spec.hidden),
        "CLS of block": [str(block) for block in spec.cls],
        "windows of side": [str(side) for side in spec.windows],
    }
    parts = [f"{what} {', '.join(found)}" for what, found in numbers.items() if found]
    images = ["images" if spec.encoded else "images alone"] if spec.images else []
    return "; ".join([f"{spec.image_size} px", *parts, *images])


def _listed(layers: tuple[Layer, ...]) -> list[str]:
    return [f"{each.block} ({each.dpam.attention})" if each.dpam else str(each.block) for each in layers]
