"""The state of a backbone, by which a change that a method makes of it is found."""

import torch
from torch import Tensor

from benchmark.clip import Backbone
from benchmark.contract import Dpam, Layer, VisionSpec
from benchmark.errors import ContractError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class BackboneState:
    """The modules, parameters and outputs of a backbone, as they are now.

    Args:
        backbone: The backbone, a small one: its parameters are copied.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._modules = _modules(backbone)
        self._values = {name: value.clone() for name, value in backbone.model.state_dict().items()}
        self._outputs = _outputs(backbone)

    def require_same(self) -> None:
        """Check that the backbone is as it was.

        Raises:
            ContractError: It is not; the message names what was changed.
        """
        for name, parameter in self._backbone.model.named_parameters():
            if parameter.requires_grad or parameter.grad is not None:
                raise ContractError(
                    f"{name} of the backbone {'trains' if parameter.requires_grad else 'has a gradient'}"
                )
        now = _modules(self._backbone)
        for name in sorted({*now, *self._modules}):
            if now.get(name) != self._modules.get(name):
                raise ContractError(
                    f"the module {name or 'model'} of the backbone is not as before: {_said(self._modules.get(name))} "
                    f"then, {_said(now.get(name))} now"
                )
        values = self._backbone.model.state_dict()
        if changed := [name for name, value in self._values.items() if not torch.equal(value, values[name])]:
            raise ContractError(f"{changed[0]} of the backbone has other values than before")
        if not all(map(torch.equal, self._outputs, _outputs(self._backbone))):
            raise ContractError("the backbone gives other features than before")


def _modules(backbone: Backbone) -> dict[str, tuple[str, int, bool]]:
    """Return type, number of hooks and whether `forward` was replaced, of every module by its name."""
    return {
        name: (type(module).__name__, sum(len(getattr(module, each)) for each in _HOOKS), "forward" in vars(module))
        for name, module in backbone.model.named_modules()
    }


def _said(module: tuple[str, int, bool] | None) -> str:
    if module is None:
        return "nothing"
    kind, hooks, replaced = module
    return f"{kind} with {hooks} {'hook' if hooks == 1 else 'hooks'}{' and another forward' if replaced else ''}"


def _outputs(backbone: Backbone) -> list[Tensor]:
    """Return embeddings of fixed images and a fixed text."""
    size, last = backbone.image_size, backbone.blocks
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    features = backbone.encode_images(images, VisionSpec(size, (Layer(last), Layer(last, Dpam(backbone.dpam_first)))))
    with torch.no_grad():
        return [features.image, *features.patches.values(), backbone.encode_prompts([["a damaged object."]])]
