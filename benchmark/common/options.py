"""Options of methods: which of them change what is learned."""

from dataclasses import asdict, field, fields
from typing import Any


def inference_option(default: Any) -> Any:
    """Declare a field of `Options` that changes predictions but not what is learned.

    Variants that differ only in such options share one training.
    """
    return field(default=default, metadata={"inference": True})


def training_options(options: Any) -> dict[str, Any]:
    """Return the options that change what is learned, by name."""
    values = asdict(options)
    return {each.name: values[each.name] for each in fields(options) if not each.metadata.get("inference")}
