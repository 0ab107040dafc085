"""Forward passes of the vision tower that several methods share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.clip.backbone import Backbone
from benchmark.clip.spec import VisionSpec, merge_specs


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass of the vision tower, and whom it serves."""

    backbone: Backbone
    spec: VisionSpec
    places: tuple[int, ...]
    """Places of those that it serves, in the order in which they asked."""


def passes(asked: Sequence[tuple[Backbone, VisionSpec]]) -> list[Pass]:
    """Return the passes that serve all methods: one for each image size and each tower that gives features of its own.

    Variants of a backbone share a pass where they give the same features, see `Backbone.in_effect`.

    Args:
        asked: The backbone of each method and what the method asks for.

    Returns:
        Passes in the order in which they are first asked for.
    """
    shared: dict[Any, list[int]] = {}
    for place, (backbone, spec) in enumerate(asked):
        size = spec.image_size
        weights = (backbone.sha256, backbone.architecture, backbone.dtype, backbone.device, backbone.mean, backbone.std)
        shared.setdefault((weights, size, backbone.in_effect(size)), []).append(place)
    found = []
    for places in shared.values():
        (spec,) = merge_specs(asked[place][1] for place in places)
        found.append(Pass(asked[places[0]][0], spec, tuple(places)))
    return found
