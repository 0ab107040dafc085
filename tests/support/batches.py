"""Batches of auxiliary images in tests."""

from typing import Any

import torch
from torch import Tensor

from benchmark.contract import Features, TrainingBatch


def tensors(features: Features) -> dict[Any, Tensor]:
    of_layers = {"patches": features.patches, "tokens": features.tokens, "hidden": features.hidden}
    kept = {(kind, layer): values for kind, found in of_layers.items() for layer, values in found.items()}
    return {"image": features.image, "image_raw": features.image_raw, **kept, **features.cls}


def assert_same(found: TrainingBatch, expected: TrainingBatch, *, atol: float) -> None:
    torch.testing.assert_close(tensors(found.features), tensors(expected.features), atol=atol, rtol=0)
    assert torch.equal(found.masks, expected.masks)
    assert torch.equal(found.labels, expected.labels)
