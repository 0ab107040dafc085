"""Options that name blocks or tokens that there are not: they are refused when the method is made, by their names."""

from typing import Any

import pytest

from benchmark.clip.backbone import Backbone
from benchmark.errors import BenchError
from benchmark.registry import RegistryError, all_methods, make_options

LAYERS = ("aa_clip", "adaclip", "anomalyclip", "april_gan")
PATHS = ("aa_clip", "anomalyclip", "faprompt")
PROMPTS = ("anomalyclip", "faprompt", "mrad_clip")


def made(name: str, backbone: Backbone, **values: Any) -> Any:
    method = all_methods()[name]
    return method(backbone, method.Options(**values))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("block", [-1, 0, 5, 99])
def test_layers_that_the_tower_does_not_have_are_refused(tiny: Backbone, name: str, block: int) -> None:
    said = rf"^{name}\.feature_layers names block {block}; the vision tower has the blocks 1 to 4$"
    with pytest.raises(BenchError, match=said):
        made(name, tiny, feature_layers=(1, block))
    made(name, tiny, feature_layers=(1, 4))


@pytest.mark.parametrize("name", LAYERS)
def test_no_layers_are_refused(name: str) -> None:
    with pytest.raises(RegistryError, match=rf"^option {name}\.feature_layers\b"):
        make_options(all_methods()[name], {"feature_layers": "[]"})


@pytest.mark.parametrize("name", PATHS)
def test_a_first_block_that_the_tower_does_not_have_is_refused(tiny: Backbone, name: str) -> None:
    for block in (0, 5):
        said = rf"^{name}\.first_block names block {block}; the vision tower has the blocks 1 to 4$"
        with pytest.raises(BenchError, match=said):
            made(name, tiny, first_block=block)
    made(name, tiny, first_block=4)
    with pytest.raises(RegistryError, match=rf"^option {name}\.first_block: "):
        make_options(all_methods()[name], {"first_block": "0"})


@pytest.mark.parametrize("name", PROMPTS)
def test_learned_tokens_of_blocks_replace_the_learned_context_alone(tiny: Backbone, name: str) -> None:
    made(name, tiny, context=3, deep_tokens=3)
    made(name, tiny, context=3, deep_tokens=4, deep_depth=1)  # there are none
    with pytest.raises(
        BenchError, match=r"^deep_tokens=4: they replace .* which are context=3; choose at most as many$"
    ):
        made(name, tiny, context=3, deep_tokens=4)


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("option", ["context", "deep_depth", "deep_tokens"])
def test_numbers_of_learned_tokens_are_at_least_one(name: str, option: str) -> None:
    with pytest.raises(RegistryError, match=rf"^option {name}\.{option}: "):
        make_options(all_methods()[name], {option: "0"})
