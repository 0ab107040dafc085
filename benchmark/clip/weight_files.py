"""Reading weight files. No file is ever unpickled."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.clip.architectures import BackboneError
from benchmark.clip.weights import published_files
from benchmark.common import file_sha256

if TYPE_CHECKING:
    from torch import Tensor


def read_state_dict(path: Path, *, keys: Sequence[str] = ("state_dict",)) -> "dict[str, Tensor]":
    """Read the tensors of a weight file without unpickling.

    The file is a safetensors file, a TorchScript archive as published by OpenAI, or a state dict that
    `torch.load(weights_only=True)` reads.

    Args:
        path: The file.
        keys: Entries of a checkpoint that may hold the state dict. The first one that exists is used.

    Returns:
        The tensors by name, without the prefix `module.`.

    Raises:
        BackboneError: If the file has another format or would need unpickling of arbitrary objects.
    """
    import torch
    from safetensors.torch import load_file

    if path.exists() and not path.is_file():  # reading from a pipe would block
        raise BackboneError(f"{path}: not a file; name the weight file itself")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as error:  # safetensors raises a type of its own
            raise BackboneError(f"{path}: not a readable safetensors file: {error}") from error
    try:
        if _is_torchscript(path):
            # TorchScript's C++ reader creates only tensors and modules. A published file is known to be no trap.
            if file_sha256(path) not in published_files():
                _refuse_code(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                loaded = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except BackboneError:
        raise
    except Exception as error:  # a refused pickle, a truncated archive, …
        raise BackboneError(
            f"{path}: neither a TorchScript archive nor a state dict that loads without unpickling "
            f"({type(error).__name__}); convert it to safetensors where you trust it"
        ) from error
    state = loaded
    if isinstance(loaded, dict):
        state = next((loaded[key] for key in keys if key in loaded), loaded)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BackboneError(f"{path}: holds no state dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive.

    Raises:
        BackboneError: If the file is a tar archive, whose loader ran code in some versions of torch (CVE-2025-32434),
            or an archive that is much larger when unpacked.
    """
    import tarfile
    import zipfile

    if not zipfile.is_zipfile(path):
        if tarfile.is_tarfile(path):
            raise BackboneError(f"{path}: in torch's oldest format (tar); convert it to safetensors where you trust it")
        return False
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    unpacked, limit = sum(entry.file_size for entry in entries), 2 * path.stat().st_size + 2**26
    if unpacked > limit:  # only code is compressed, tensors are not
        raise BackboneError(f"{path}: {unpacked:,} bytes when unpacked, more than the limit for its size, {limit:,}")
    return any(entry.filename.endswith("/constants.pkl") for entry in entries)


def _refuse_code(path: Path) -> None:
    """Raise an error if a TorchScript archive has code that runs while the archive is read.

    Raises:
        BackboneError: If there is such code; it could write files.
    """
    import torch

    reader = torch._C.PyTorchFileReader(str(path))  # the reader that torch.jit.load uses, so both read the same bytes
    for name in reader.get_all_records():
        if name.startswith("code/") and b"__setstate__" in reader.get_record(name):
            raise BackboneError(
                f"{path}: {name} would run code while the file is read (__setstate__); save its state dict as "
                "safetensors where you trust it"
            )
