"""The tower of a method: the variant of a backbone that it asks for. Planning a run does not load CLIP for it."""

from typing import TYPE_CHECKING, Any

from benchmark.contract import BackboneVariant, Method
from benchmark.errors import ContractError

if TYPE_CHECKING:
    from benchmark.clip import Backbone


def variant_of(method: type[Method], options: Any) -> BackboneVariant:
    """Return in what a method with these options runs the backbone otherwise.

    Raises:
        ContractError: `backbone_variant` raises an error, or returns something else.
    """
    try:
        found: object = method.backbone_variant(options)
    except ContractError as error:  # of the variant itself, which says all
        raise ContractError(f"{method.title}: {error}") from error
    except (Exception, SystemExit) as error:  # a method's own code may raise anything
        raise ContractError(f"{method.title}: backbone_variant: {type(error).__name__}: {error}") from error
    if not isinstance(found, BackboneVariant):
        raise ContractError(f"{method.title}: backbone_variant returns a {type(found).__name__}, not a BackboneVariant")
    return found


def tower_of(method: type[Method], backbone: "Backbone", options: Any) -> "Backbone":
    """Return the backbone as a method runs it.

    Raises:
        ContractError: `backbone_variant` raises an error, or returns something else.
    """
    return backbone.variant(variant_of(method, options))
