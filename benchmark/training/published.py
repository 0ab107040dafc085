"""Import of checkpoints that the methods' published code has written."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.clip import read_state_dict
from benchmark.common import file_sha256, listed
from benchmark.contract import Learner, Method, training_options
from benchmark.data import Card
from benchmark.protocol import Protocol
from benchmark.records import (
    BackboneId,
    CheckpointError,
    DataId,
    TrainingId,
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from benchmark.registry import changed_options
from benchmark.training.towers import variant_of

if TYPE_CHECKING:
    from torch import Tensor


def import_checkpoint(
    file: Path,
    method: type[Method],
    *,
    auxiliaries: Sequence[Card],
    backbone: BackboneId,
    protocol: Protocol,
    results: Path,
    stated: Mapping[str, Any] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Import a published checkpoint into a results directory.

    It can be run with any values of the options that neither its tensors nor `stated` fix.

    Args:
        file: A .pth file of the published code. Only tensors are read from it.
        method: Method that the checkpoint belongs to.
        auxiliaries: Cards of the datasets that it was trained on, according to its authors.
        backbone: Backbone that it was trained with, in the variant that the method asks for.
        protocol: Protocol under which it will be used.
        results: The results directory.
        stated: Options that it was trained with, which its tensors do not tell.

    Returns:
        The JSON file of the new checkpoint, and the options of the checkpoint that differ from the defaults.

    Raises:
        CheckpointError: If the method has no published checkpoints, if the file is not one of them or is known to have
            been trained on other data, or if `stated` contradicts it or names an option that has nothing to do with
            training.
        BackboneError: If the file cannot be read without unpickling.
    """
    if not issubclass(method, Learner):
        raise CheckpointError(f"{method.name} learns nothing, so it has no checkpoints")
    if file.suffix == ".json" and file.is_file():
        read_checkpoint(file)
        raise CheckpointError(f"{file}: imported already; use it by `bench run --checkpoint {shlex.quote(str(file))}`")
    state, sha256 = read_state_dict(file, score=lambda found: _is_read(method, found)), file_sha256(file)
    trained_on = method.published.get(sha256)
    if trained_on is not None and set(trained_on) != {card.name for card in auxiliaries}:
        raise CheckpointError(
            f"{file}: by its sha256 its authors trained it on other data; say --auxiliary {','.join(trained_on)}"
        )
    try:
        values, learned = method.import_state(state)
    except NotImplementedError:
        raise CheckpointError(f"{method.name} does not say how to read its published checkpoints") from None
    except KeyError as error:
        raise CheckpointError(
            f"{file}: no checkpoint of {method.title}: it has no entry {error}, but {listed(list(state), 5)}"
        ) from None
    except (ValueError, TypeError, IndexError, RuntimeError, AttributeError) as error:  # tensors of other shapes
        raise CheckpointError(f"{file}: no checkpoint of {method.title}: {error}") from error
    learning = training_options(method.Options(**values))
    for name, value in (stated or {}).items():
        if name not in learning:
            raise CheckpointError(f"--set {method.name}.{name}: it changes no training; say it to `bench run` instead")
        if values.get(name, value) != value:
            raise CheckpointError(f"--set {method.name}.{name}={value}: the tensors of {file} say {values[name]}")
    known = {name: value for name, value in {**values, **(stated or {})}.items() if name in learning}
    identity = TrainingId(
        method=method.name,
        method_version=method.version,
        options=known,
        changed=known,
        auxiliary=DataId(
            name="+".join(card.name for card in auxiliaries),
            card_version=max(card.version for card in auxiliaries),
            layout="published",
            fingerprint=sha256,
        ),
        seed=0,
        backbone=backbone.variant(variant_of(method, method.Options(**known)), protocol),
        protocol=protocol,
    )
    path = checkpoint_path(results, identity)
    write_checkpoint(path, learned, training=identity, origin="imported", source=file.name)
    return path, changed_options(method.Options(**known))


def _is_read(method: type[Learner], state: Mapping[str, "Tensor"]) -> bool:
    """Return whether a state dict has the entries that a method reads of its published checkpoints."""
    try:
        method.import_state(state)
    except KeyError:
        return False
    except Exception:  # it has them, but of other shapes, which is said when it is read
        return True
    return True
