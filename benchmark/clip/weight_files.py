"""Reading weight files. No file is ever unpickled."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.clip.architectures import BackboneError
from benchmark.clip.state_dicts import flattened, from_transformers, is_transformers, places_of_entries, state_dicts
from benchmark.clip.weight_folders import weight_files
from benchmark.clip.weights import published_files
from benchmark.common import file_sha256, is_safetensors, listed, what_is_it

if TYPE_CHECKING:
    from torch import Tensor


def read_state_dict(path: Path, *, score: "Callable[[dict[str, Tensor]], int]" = len) -> "dict[str, Tensor]":
    """Read the tensors of a weight file without unpickling.

    The file is a safetensors file, a TorchScript archive as published by OpenAI, or a state dict that
    `torch.load(weights_only=True)` reads. It may also be a folder as those of Hugging Face's hub, with the weights in
    one file or in several.

    Args:
        path: The file or folder.
        score: How well a state dict suits. Of those that the file may hold (see `state_dicts`), the first that suits
            best is taken; one in the layout of transformers is in that of open_clip by then.

    Returns:
        The tensors by name.

    Raises:
        BackboneError: If the file has another format, would need unpickling of arbitrary objects, or holds values that
            are not finite.
    """
    loaded = _load(path)
    found = _candidates(loaded)
    if not found:
        raise _no_tensors(path, loaded)
    best = max(found, key=score)
    _require_finite(best, dict.fromkeys(best, path))
    return best


def read_entries(paths: "Sequence[Path]", *, suits: "Callable[[dict[str, Tensor]], bool]") -> "dict[str, Tensor]":
    """Read the tensors of the files of a checkpoint without unpickling.

    Args:
        paths: One file as in `read_state_dict`, or several.
        suits: Whether a state dict is the one that is looked for. Of those that one file may hold (see `state_dicts`),
            the first that suits is taken. Where none does, and of several files, it is the one of all entries, by the
            names of the dicts they lie in and their own, as in `prompt_learner.ctx_pos`. Where two files have an entry
            of the same name, the stem of its file comes first.

    Raises:
        BackboneError: As in `read_state_dict`, or if two files have the same stem and an entry of the same name.
    """
    loaded = {path: _load(path) for path in paths}
    parts = {path: flattened(content) for path, content in loaded.items()}
    if empty := next((path for path, part in parts.items() if not part), None):
        raise _no_tensors(empty, loaded[empty])
    files: dict[str, Path] = {}
    joined: dict[str, Tensor] = {}
    for name, found in places_of_entries(parts).items():
        if len(found) > 1:
            raise BackboneError(f"{found[0][0]} and {found[1][0]}: both have an entry {name}; rename one of the files")
        [(files[name], own)] = found
        joined[name] = parts[files[name]][own]
    alone = _candidates(loaded[paths[0]]) if len(paths) == 1 else []
    taken = next((each for each in alone if suits(each)), joined)
    _require_finite(taken, files if taken is joined else dict.fromkeys(taken, paths[0]))
    return taken


def _load(path: Path) -> Any:
    """Return what a weight file, or the files of a folder, hold."""
    if not path.is_dir():
        return _read_file(path)
    parts = [_read_file(file) for file in weight_files(path)]
    return dict(item for part in parts if isinstance(part, dict) for item in part.items())


def _candidates(loaded: object) -> "list[dict[str, Tensor]]":
    return [from_transformers(each) if is_transformers(each) else each for each in state_dicts(loaded)]


def _no_tensors(path: Path, loaded: object) -> BackboneError:
    there = f"; it holds {listed([str(key) for key in loaded], 5)}" if isinstance(loaded, dict) and loaded else ""
    return BackboneError(f"{path}: holds no state dict of tensors{there}")


def _require_finite(state: "Mapping[str, Tensor]", files: Mapping[str, Path]) -> None:
    """Raise an error if an entry of a state dict has values that are no finite real numbers; it names the entry's file.

    Tensors that are not dense are refused, too.
    """
    import torch

    for key, value in state.items():
        dense = value.layout == torch.strided and not (value.is_nested or value.is_meta or value.is_quantized)
        if not dense or value.is_complex():
            kind = "complex numbers" if dense else "no dense tensor of numbers (but a sparse or quantised one, or none)"
            raise BackboneError(f"{files[key]}: {key} holds {kind}; save real numbers in a dense tensor")
    wrong = next(
        (key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()), None
    )
    if wrong is not None:
        raise BackboneError(
            f"{files[wrong]}: {wrong} holds values that are no finite numbers (NaN or infinite); the training that "
            "made it failed, or the file is broken"
        )


def _read_file(path: Path) -> Any:
    """Return what a weight file holds."""
    import torch
    from safetensors.torch import load_file

    if not path.exists():
        raise BackboneError(f"{path}: no such file")
    if not path.is_file():  # reading from a pipe would block
        raise BackboneError(f"{path}: not a file; name the weight file itself")
    try:
        with path.open("rb") as file:
            start = file.read(9)
        named = path.suffix == ".safetensors" and not start.startswith(b"PK")  # a file of torch under another name
        if named or is_safetensors(start, size=path.stat().st_size):
            return load_file(path)
        if _is_torchscript(path):
            # TorchScript's C++ reader creates only tensors and modules. A published file is known to be no trap.
            if file_sha256(path) not in published_files():
                _refuse_code(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                return torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
        with path.open("rb") as file:  # of a path, torch would look at the extension
            return torch.load(file, map_location="cpu", weights_only=True)
    except BackboneError:
        raise
    except Exception as error:  # a refused pickle, a truncated archive, …
        if what := what_is_it(path):
            raise BackboneError(f"{path}: no weights, but {what}") from error
        if path.suffix == ".safetensors":
            raise BackboneError(f"{path}: not a readable safetensors file: {error}; download it again") from error
        raise BackboneError(
            f"{path}: neither a TorchScript archive nor a state dict that loads without unpickling "
            f"({type(error).__name__}); convert it to safetensors where you trust it"
        ) from error


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
            raise BackboneError(
                f"{path}: a tar archive, as those of torch's oldest format; unpack it, or convert it to safetensors "
                "where you trust it"
            )
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
