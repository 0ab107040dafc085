"""What SECURITY.md promises: files of strangers run nothing, take no more than their share, lead nowhere else."""

import ast
import csv
import functools
import hashlib
import io
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save
from support.reference import REFERENCE_RECORDS

from benchmark.clip.architectures import BackboneError
from benchmark.clip.weight_files import read_state_dict
from benchmark.common.cache import Cache, Entry
from benchmark.common.reading import JSON_LIMIT, TABLE_LIMIT, read_limited
from benchmark.contract import Stage, TrainingBatch, VisionSpec
from benchmark.data.cards import Card, CardError, load_card, load_cards
from benchmark.data.check import check_dataset
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import MAX_PIXELS, MAX_SIDE, ImageError, read_image
from benchmark.data.masks import MaskRule, read_mask
from benchmark.data.samples import DatasetError, read_samples
from benchmark.errors import BenchError
from benchmark.metrics.per_image import PerImageError, from_bytes, read_per_image
from benchmark.predict.own_images import find_images
from benchmark.protocol import Protocol
from benchmark.records.cells import BackboneId
from benchmark.records.checkpoints import CheckpointError, read_checkpoint, read_tensors
from benchmark.records.classes import ClassResultError, read_class
from benchmark.records.records import Record, RecordError, Skipped, per_image_path, read_record
from benchmark.report.site import make_site
from benchmark.tables.comparison import compare
from benchmark.tables.comparison_output import comparison_csv, published_csv, render_comparison, render_published
from benchmark.tables.outputs import make_outputs, write_files
from benchmark.tables.published import PublishedError, load_published, read_numbers, read_sources
from benchmark.training.loop import train
from benchmark.training.published import import_checkpoint
from methods.anomalyclip import AnomalyClip

TOP = Path(__file__).parents[1]
MINI = TOP / "benchmark" / "mini"
RECORD = REFERENCE_RECORDS[0]
PIXEL = np.full((2, 2), 255, np.uint8)


# ---- nothing is unpickled


class Trap:
    """Leaves a witness when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.witness,))


def plain(trap: Trap) -> bytes:
    return pickle.dumps({"state_dict": trap})


def zipped(trap: Trap) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": trap}, file)
    return file.getvalue()


def legacy(trap: Trap) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": trap}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def tarred(trap: Trap) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(trap)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def scripted(trap: Trap) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (("version", b"3\n"), ("constants.pkl", pickle.dumps((trap,)))):
            archive.writestr(f"evil/{name}", content)
        archive.writestr("evil/data.pkl", pickle.dumps(trap))
    return file.getvalue()


def objects(trap: Trap) -> bytes:
    file = io.BytesIO()
    np.savez(file, classes=np.array([trap], dtype=object), keys=np.array([trap], dtype=object))
    return file.getvalue()


def array(trap: Trap) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([trap], dtype=object))
    return file.getvalue()


TRAPS = (plain, zipped, legacy, tarred, scripted, objects, array)


@pytest.mark.parametrize("trap", TRAPS)
def test_the_traps_are_ones(trap: Callable[[Trap], bytes], tmp_path: Path) -> None:
    """Else the tests below would show nothing."""
    content, witness = trap(Trap(tmp_path / "witness")), tmp_path / "witness"
    if trap in (objects, array):
        found = np.load(io.BytesIO(content), allow_pickle=True)
        _ = found if trap is array else found["classes"]
    elif trap is zipped:
        torch.load(io.BytesIO(content), weights_only=False)
    else:
        if trap is tarred:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                content = archive.extractfile("pickle").read()  # type: ignore[union-attr]
        if trap is scripted:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read("evil/constants.pkl")
        stream = io.BytesIO(content)
        while stream.tell() < len(content) and not witness.exists():
            pickle.load(stream)
    assert witness.exists()


def _import(path: Path) -> None:
    backbone = BackboneId(name="tiny", architecture="tiny", sha256="0" * 64, dtype="float32", synthetic=True)
    card = load_cards()["visa"]
    import_checkpoint(
        [path], AnomalyClip, auxiliaries=[card], backbone=backbone, protocol=Protocol(), results=path.parent / "results"
    )


def _tensors_of_a_checkpoint(path: Path) -> None:
    """The JSON speaks of exactly these tensors."""
    known = json.loads((MINI / "checkpoints/anomalyclip.json").read_text())
    known["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(known))
    read_checkpoint(path.with_suffix(".json"))
    read_tensors(path.with_suffix(".json"))


def _json_of_a_checkpoint(path: Path) -> None:
    path.with_suffix(".safetensors").write_bytes(save({"a": torch.zeros(1)}))
    read_checkpoint(path)


def _results_per_image(path: Path) -> None:
    read_per_image(path, hashlib.sha256(path.read_bytes()).hexdigest())


def _list_of_samples(path: Path) -> None:
    """As VisA's list of samples, in a dataset of a class of the same name."""
    listed = path.parent / "visa/split_csv/1cls.csv"
    listed.parent.mkdir(parents=True)
    path.rename(listed)
    try:
        read_samples(load_cards()["visa"], path.parent / "visa")
    except DatasetError as error:
        raise DatasetError(str(error).replace(listed.name, path.name)) from None


def _sources(path: Path) -> None:
    read_numbers(path, read_sources(TOP / "results/published/sources.toml"))


PLACES: dict[str, tuple[Callable[[Path], Any], type[Exception]]] = {
    "weights.pt": (read_state_dict, BackboneError),
    "weights.bin": (read_state_dict, BackboneError),
    "weights.safetensors": (read_state_dict, BackboneError),
    "published.pth": (_import, BenchError),
    "checkpoint.safetensors": (_tensors_of_a_checkpoint, CheckpointError),
    "checkpoint.json": (_json_of_a_checkpoint, CheckpointError),
    "record.json": (read_record, RecordError),
    "images.npz": (_results_per_image, PerImageError),
    "class.json": (read_class, ClassResultError),
    "list.csv": (_list_of_samples, DatasetError),
    "published.csv": (_sources, PublishedError),
    "sources.toml": (read_sources, PublishedError),
    "card.toml": (load_card, CardError),
    "image.png": (read_image, ImageError),
    "image.tif": (read_image, ImageError),
    "mask.png": (lambda path: read_mask(path, MaskRule(0)), ImageError),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", PLACES)
def test_a_pickle_in_place_of_any_file_is_refused_by_name(
    name: str, trap: Callable[[Trap], bytes], tmp_path: Path
) -> None:
    read, kind = PLACES[name]
    path, witness = tmp_path / name, tmp_path / "witness"
    path.write_bytes(trap(Trap(witness)))
    with pytest.raises(kind, match=re.escape(path.stem if kind is not ValidationError else "Invalid JSON")):
        read(path)
    assert not witness.exists()


class _Line:
    """What the training loop asks of a method that learns."""

    title, seed, divisible = "Line", 0, False

    def __init__(self) -> None:
        self.backbone = SimpleNamespace(device="cpu")
        self.learned = torch.nn.Linear(1, 1)
        self.learned.load_state_dict({"weight": torch.ones(1, 1), "bias": torch.zeros(1)})

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learned.parameters())

    def losses(self, batch: TrainingBatch) -> dict[str, torch.Tensor]:
        return {"square": self.learned(batch.masks).square().mean()}

    def work(self, data: Any) -> Any:
        """Its stage with what it is trained on."""
        return [(Stage(self.losses, self.optimiser(), 2, 2, VisionSpec(14)), data)]


class _Numbers(list[float]):
    """Data whose masks are the numbers themselves."""

    threads = 1

    def kept_if_small(self, *, processes: int) -> Self:
        return self

    def in_epoch(self, *numbers: int) -> Self:
        return self

    def check_unchanged(self) -> None:
        pass

    def read(self, indices: list[int]) -> Callable[[], TrainingBatch]:
        masks = torch.tensor([[self[index]] for index in indices])
        return lambda: TrainingBatch(cast(Any, None), (), cast(Any, None), masks)


@pytest.mark.parametrize("trap", TRAPS)
def test_a_pickle_as_state_of_a_training_is_no_state(trap: Callable[[Trap], bytes], tmp_path: Path) -> None:
    partial, witness = tmp_path / "x.partial.safetensors", tmp_path / "witness"
    partial.write_bytes(trap(Trap(witness)))
    data: Any = _Numbers((1.0, 2.0, 3.0))
    resumed, fresh = (train(cast(Any, line := _Line()), line.work(data), partial=state) for state in (partial, None))
    assert len(resumed) == 2
    assert resumed == fresh
    assert not partial.exists()
    assert not witness.exists()


@pytest.mark.parametrize("trap", TRAPS)
def test_a_pickle_in_the_cache_is_no_entry(trap: Callable[[Trap], bytes], tmp_path: Path) -> None:
    entry, witness = Entry(Cache(tmp_path, 2**20), "key"), tmp_path / "witness"
    entry.folder.mkdir()
    content = trap(Trap(witness))
    entry.path("patches").write_bytes(content)
    entry.path("patches").with_suffix(".json").write_bytes(content)
    assert not entry.is_whole("patches")
    # Where what is noted of it agrees, its bytes are raw numbers and nothing else.
    entry.path("patches").with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(content).hexdigest()}))
    assert entry.is_whole("patches")
    assert not witness.exists()


class _Writes(torch.nn.Module):
    """TorchScript with code that runs while it is loaded, and writes a file."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self):  # type: ignore[no-untyped-def]
        return (self.target, self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):  # type: ignore[no-untyped-def]
        self.target = state[0]
        self.weight = state[1]
        self.training = state[2]
        torch.save(state[1], state[0])


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_that_would_run_while_it_is_read_is_refused(tmp_path: Path) -> None:
    witness, path = tmp_path / "witness", tmp_path / "evil.pt"
    torch.jit.save(torch.jit.script(_Writes(str(witness))), str(path))  # type: ignore[no-untyped-call]
    torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    assert witness.exists()
    witness.unlink()
    with pytest.raises(BackboneError, match=r"evil\.pt: code/.* would run code"):
        read_state_dict(path)
    assert not witness.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_without_such_code_is_read(tmp_path: Path) -> None:
    module = torch.jit.script(torch.nn.Linear(2, 3))
    torch.jit.save(module, str(tmp_path / "good.pt"))  # type: ignore[no-untyped-call]
    assert set(read_state_dict(tmp_path / "good.pt")) == {"weight", "bias"}


FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
HARMLESS = {("joblib", "cpu_count")}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "full_load", "unsafe_load"}
LOADERS = {"load": "weights_only", "loads": ""}
ALLOWED = {("registered.py", "exec_module"), ("registered.py", "import_module")}


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """Yield each call with what is before the dot and the name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node, ast.unparse(node.func.value), node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node, "", node.func.id


def misdeeds(name: str, source: str) -> list[str]:
    """Return what a source has that could run what a file holds."""
    found, tree = [], ast.parse(source)
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "" for each in node.names if (node.module, each.name) not in HARMLESS]
        found += [each for each in names if each.partition(".")[0] in FORBIDDEN_MODULES]
    for call, before, called in _calls(tree):
        given = {each.arg: each.value for each in call.keywords}
        true = {key for key, value in given.items() if isinstance(value, ast.Constant) and value.value is True}
        false = {key for key, value in given.items() if isinstance(value, ast.Constant) and value.value is False}
        builtin_or_os = not before or before == "os"
        if (
            (called in FORBIDDEN_CALLS and builtin_or_os)
            or (called in {"exec_module", "import_module"} and (name, called) not in ALLOWED)
            or (before == "torch" and called == "load" and "weights_only" not in true)
            or (before in {"np", "numpy"} and called == "load" and "allow_pickle" not in false)
            or (before == "yaml" and called != "safe_load")
            or "shell" in true
            or "allow_pickle" in true
        ):
            found.append(f"{before}.{called}")
    return found


def test_no_source_can_run_what_a_file_holds() -> None:
    sources = [*(TOP / "benchmark").rglob("*.py"), *(TOP / "methods").rglob("*.py")]
    assert len(sources) > 60
    found = {str(path): misdeeds(path.name, path.read_text(encoding="utf-8")) for path in sources}
    assert {path: each for path, each in found.items() if each} == {}


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from joblib import load", "from joblib import cpu_count, load"),
        *("import yaml; yaml.load(f)", "torch.load(f)", "eval('1')"),
        *("exec(s)", "np.load(f)", "np.load(f, allow_pickle=True)", "torch.load(f, weights_only=False)"),
        *("subprocess.run(s, shell=True)", "os.system(s)", "spec.loader.exec_module(m)", "import dill.source as d"),
    ],
)
def test_the_search_through_the_sources_finds(source: str) -> None:
    assert misdeeds("other.py", source)


# ---- bombs


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Not more than 1 GB beyond what the process has: what allocates a bomb fails instead of straining the machine."""
    resource, statm = pytest.importorskip("resource"), Path("/proc/self/statm")
    if not statm.exists():  # the limits hold there too, only this belt does not
        yield
        return
    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many zero bytes, packed about a thousand times smaller."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(count >> 20)) + packer.flush()


def tiff(width: int, height: int, packed: bytes, *, code: int, bits: int = 64) -> bytes:
    """A BigTIFF of one strip of floats, which Pillow does not know."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, code), (262, 3, 1), (273, 16, 0)]
    tags += [(277, 3, 1), (278, 4, height), (279, 16, len(packed)), (339, 3, 3)]
    start = 16 + 8 + 20 * len(tags) + 8
    body = struct.pack("<Q", len(tags))
    for tag, kind, value in tags:
        body += struct.pack("<HHQQ", tag, kind, 1, start if tag == 273 else value)
    return b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) + body + struct.pack("<Q", 0) + packed


BOMBS = {
    "huge.png": lambda: png(100_000, 100_000, zlib.compress(b"")),
    "limit.png": lambda: png(9_460, 9_460, zeros(2**20)),
    "wide.png": lambda: png(MAX_SIDE + 1, 1, zlib.compress(bytes(MAX_SIDE + 2))),
    "high.png": lambda: png(1, MAX_SIDE + 1, zlib.compress(bytes(2 * MAX_SIDE + 2))),
    "huge.tif": lambda: tiff(100_000, 100_000, b"", code=1),
    "packed.tif": lambda: tiff(8, 8, zeros(2**26), code=8),
    "endless.tif": lambda: tiff(1, 2**31 - 1, b"", code=1),
    "huge.gif": lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    "huge.bmp": lambda: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0)
    ),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("own_limit", [True, False])
@pytest.mark.parametrize("name", BOMBS)
def test_an_image_of_absurd_size_is_refused_unopened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, own_limit: bool
) -> None:
    if own_limit:  # another library may have switched Pillow's off
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    for read in (read_image, lambda path: read_mask(path, MaskRule(0))):
        with pytest.raises(ImageError, match=rf"{name}: .*\d.*(limit|above) .*"):
            read(path)


def test_the_largest_and_the_longest_images_are_read(tmp_path: Path) -> None:
    (tmp_path / "long.png").write_bytes(png(MAX_SIDE, 1, zlib.compress(bytes(MAX_SIDE + 1))))
    assert read_image(tmp_path / "long.png").size == (MAX_SIDE, 1)
    assert 9_459**2 < MAX_PIXELS < 9_460**2
    assert MAX_PIXELS == (2**30 // 4 // 3)  # Pillow's own


def test_an_image_starts_no_other_program(tmp_path: Path) -> None:
    """Pillow would hand EPS to Ghostscript."""
    path = tmp_path / "a.png"
    Image.fromarray(PIXEL).convert("RGB").save(path, "EPS")
    with pytest.raises(ImageError, match=r"a\.png: not an image in a known format"):
        read_image(path)


def npz(name: str, header: dict[str, Any], content: bytes = b"", *, packed: bool = True) -> bytes:
    array, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(array, header)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{name}.npy", array.getvalue() + content)
    return file.getvalue()


def _claims(content: bytes, size: int) -> bytes:
    """The archive, its first entry saying that it is of another size."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        real = struct.pack("<I", archive.infolist()[0].file_size)
    return content.replace(real, struct.pack("<I", size))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npz("classes", {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}), "which it has not"),
        (npz("classes", {"descr": "<f8", "fortran_order": False, "shape": (2**62, 2**62)}), "which it has not"),
        (
            _claims(npz("classes", {"descr": "<f8", "fortran_order": False, "shape": (8,)}, bytes(64)), 3 * 2**30),
            "limit",
        ),
    ],
)
def test_results_per_image_that_unpack_to_too_much_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(PerImageError, match=rf"a\.npz: .*{said}"):
        read_per_image(path, hashlib.sha256(content).hexdigest())
    with pytest.raises(ValueError, match=said):
        from_bytes(content)


@pytest.mark.usefixtures("little_memory")
def test_weights_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"")
        archive.writestr("w/data/0", bytes(2**27))
    with pytest.raises(BackboneError, match=r"w\.pt: 134,217,728 bytes when unpacked, more than the limit"):
        read_state_dict(tmp_path / "w.pt")
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(BackboneError, match=r"w\.safetensors: "):
        read_state_dict(tmp_path / "w.safetensors")


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("name", "read", "kind"),
    [
        ("card.toml", load_card, CardError),
        ("sources.toml", read_sources, PublishedError),
        ("numbers.csv", _sources, PublishedError),
        ("list.csv", _list_of_samples, DatasetError),
        ("c.json", _json_of_a_checkpoint, CheckpointError),
        ("a.npz", lambda path: read_per_image(path, ""), PerImageError),
    ],
)
def test_a_huge_file_is_refused_by_its_size(name: str, read: Callable[[Path], Any], kind: Any, tmp_path: Path) -> None:
    path = sparse(tmp_path / name, 2**40)
    with pytest.raises(kind, match=r"1,099,511,627,776 bytes, more than the limit of"):
        read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize(
    "name",
    [
        "card.toml",
        "sources.toml",
        "published.csv",
        "list.csv",
        "checkpoint.json",
        "images.npz",
        "image.png",
        "weights.pt",
    ],
)
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    read, kind = PLACES[name]
    os.mkfifo(tmp_path / name)
    if name == "images.npz":
        read = lambda path: read_per_image(path, "")  # noqa: E731
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for the pipe"))
    signal.alarm(30)
    try:
        with pytest.raises(kind, match=re.escape(Path(name).stem)):
            read(tmp_path / name)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_limits_leave_room() -> None:
    assert RECORD.stat().st_size * 1000 < JSON_LIMIT
    assert TABLE_LIMIT > 10 * 2**20
    with pytest.raises(OSError, match="more than the limit of 3"):
        read_limited(RECORD, 3)


# ---- paths


OUTSIDE = (
    "../secret.png",
    "/etc/passwd",
    "a/../../secret.png",
    "..\\secret.png",
    "C:\\secret.png",
    "C:secret.png",
    "a\0b",
    "a\nb",
)


def card_with(**changes: Any) -> dict[str, Any]:
    document = tomllib.loads((TOP / "datasets/mvtec.toml").read_text(encoding="utf-8"))
    layout = document["layouts"][0]
    for key, value in changes.items():
        (document if key == "folders" else layout["rules"][-1] if key == "mask" else layout)[key] = value
    return document


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("field", ["roots", "needs", "mask", "folders"])
def test_a_card_names_no_path_outside_of_its_dataset(field: str, path: str) -> None:
    Card.model_validate(card_with())
    with pytest.raises(ValidationError, match="stays inside the dataset"):
        Card.model_validate(card_with(**{field: [path]}))


@pytest.mark.parametrize(
    "template", ["{class.__class__}/x", "{class:{stem.__doc__}}", "{class:>999999999}", "{stem!r}", "{0}"]
)
def test_a_template_is_names_in_braces_only(template: str) -> None:
    with pytest.raises(ValidationError, match=r"mask|stays inside"):
        Card.model_validate(card_with(mask=[template]))


VISA = """object,split,label,image,mask
candle,test,normal,{},
candle,test,anomaly,candle/1.png,{}
candle,test,normal,candle/0.png,
"""


@pytest.mark.parametrize("path", [*OUTSIDE[:6], "link.png", "folder/secret.png"])
def test_a_list_of_samples_leads_nowhere_else(path: str, tmp_path: Path) -> None:
    data = tmp_path / "visa"
    (data / "candle").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for place in (tmp_path / "secret.png", tmp_path / "out/secret.png", data / "candle/0.png", data / "candle/1.png"):
        Image.fromarray(PIXEL).save(place)
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    (data / "folder").symlink_to(tmp_path / "out")
    (data / "split_csv").mkdir()
    (data / "split_csv/1cls.csv").write_text(VISA.format(path, path), encoding="utf-8")
    found = read_samples(load_cards()["visa"], data)
    assert [sample.key for sample in found.samples] == ["candle/0.png", "candle/1.png"]
    assert all(sample.mask is None for sample in found.samples)
    kinds = {problem.kind for problem in found.problems}
    assert kinds & {"outside-root", "missing-file"}


def test_a_meta_json_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "nut"
    for folder in ("good", "bad"):
        (data / folder).mkdir(parents=True)
        Image.fromarray(PIXEL).save(data / folder / "0.png")
    Image.fromarray(PIXEL).save(tmp_path / "secret.png")
    listed = [{"img_path": path, "mask_path": path, "anomaly": 1} for path in OUTSIDE]
    (data / "meta.json").write_text(json.dumps({"test": {"nut": listed}}))
    found = read_folder(PlainFolder(directory=data))
    assert {sample.key for sample in found.samples} == {"good/0.png", "bad/0.png"}
    opened: list[str] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, **given: (opened.append(str(path)), original(path, **given))[1])
    check_dataset(found, workers=1)
    assert opened
    assert all(path.startswith(str(data)) for path in opened)


def test_images_of_ones_own_do_not_follow_links_out(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    Image.fromarray(PIXEL).save(tmp_path / "secret.png")
    Image.fromarray(PIXEL).save(tmp_path / "given/a.png")
    (tmp_path / "given/b.png").symlink_to(tmp_path / "secret.png")
    found, problems, _ = find_images([tmp_path / "given"], output=tmp_path / "out")
    assert [each.path.name for each in found] == ["a.png"]
    assert "leads out of this folder" in problems[0]


@pytest.mark.parametrize(
    "changes",
    [{"id": "../../escaped"}, {"cell.dataset.name": "../../escaped"}, {"cell.method": "/tmp/x"}, {"domain": "../x"}],
)
def test_a_record_names_no_file_but_its_own(changes: dict[str, str], tmp_path: Path) -> None:
    content = json.loads(RECORD.read_text())
    path = tmp_path / f"{content['id']}.json"
    path.write_text(json.dumps(content))
    read_record(path)
    for place, value in changes.items():
        *folders, last = place.split(".")
        functools.reduce(lambda inner, key: inner[key], folders, content)[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=re.escape(path.name)):
        read_record(path)


def test_no_table_is_written_elsewhere(tmp_path: Path) -> None:
    for name in ("../escaped.md", str(tmp_path / "escaped.md")):
        with pytest.raises(ValueError, match="is no name of a file below"):
            write_files(tmp_path / "tables", {name: "text"})
    assert not list(tmp_path.rglob("escaped.md"))


# ---- what is written


NASTY = (
    '</script><script>alert(1)</script><img src=x onerror="alert(2)">',
    '=HYPERLINK("http://example.org")|\n# x\n\\input{/etc/passwd}',
    "javascript:alert(1)\r\n@SUM(1)' onmouseover='alert(3)",
)


class Page(HTMLParser):
    """What of a page could run or be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.json: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = tag == "script" and given.get("type") == "application/json"
        if tag == "script" and not self._inside:
            self.scripts.append(given)
        self.handlers += [key for key in given if key.startswith("on")]
        self.links += [given[key] or "" for key in ("href", "src", "action", "formaction", "data") if key in given]

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.json.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def nasty(record: Record, index: int) -> Record:
    """The record with names, reasons and keys that would run where they are not neutralised."""
    evil = NASTY[index % len(NASTY)]
    classes = {
        f"{name} {NASTY[place % len(NASTY)]}": result.model_copy(update={"skipped": (Skipped(key=evil, reason=evil),)})
        for place, (name, result) in enumerate(record.classes.items())
    }
    training = record.training and record.training.model_copy(
        update={"source": evil, "curve": ({evil: 1.0, "total": 1.0},), "skipped": (evil,)}
    )
    changes = {"title": f"{evil} {record.title}", "warnings": (evil,), "classes": classes, "training": training}
    changes |= {"dataset_title": f"{NASTY[0]}{record.dataset_title}", "error": evil}
    changes |= {"run": record.run.model_copy(update={"machine": evil, "device": evil, "packages": {evil: evil}})}
    return Record.model_validate(record.model_copy(update=changes).model_dump())


@pytest.fixture(scope="module")
def hostile(study: Any) -> list[Record]:
    titles = sorted({record.title for record in study.records})
    return [nasty(record, titles.index(record.title)) for record in study.records]


def test_the_report_runs_nothing_of_what_records_say(hostile: list[Record], study: Any) -> None:
    def read(record: Record) -> Any:
        found = read_per_image(per_image_path(study.results, record.id), record.images_sha256 or "")
        return dict(zip(record.classes, found.values(), strict=True))

    site = make_site(hostile, lambda record: read(record) if record.images_sha256 else None)
    pages = {path: Page(content.decode()) for path, content in site.items() if path.endswith(".html")}
    assert len(pages) > 6
    for path, page in pages.items():
        assert all(re.fullmatch(r"(\.\./)*static/(js/)?[a-z.]+\.js", each["src"] or "") for each in page.scripts), path
        assert page.handlers == [], path
        assert not [link for link in page.links if re.match(r"\s*(javascript|vbscript):", link, re.IGNORECASE)], path
        assert not [link for link in page.links if link.startswith(("http:", "//"))], path
        for block in page.json:
            json.loads(block, parse_constant=pytest.fail)
    assert any(page.json for page in pages.values())
    # No name becomes a path.
    assert all(re.fullmatch(r"[a-zA-Z0-9_./-]+", path) and ".." not in path for path in site)


def _texts(files: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in files.items():
        if name.endswith(".csv"):
            for row in csv.reader(io.StringIO(text, newline=""), strict=True):
                yield from ((name, cell) for cell in row)


def test_no_table_holds_formulas_markup_or_commands(hostile: list[Record]) -> None:
    files = make_outputs(hostile).files
    numbers = load_published()
    evil = [
        type(each)(**(vars(each) | {"row": each.row.model_copy(update={"source": NASTY[1], "method": NASTY[2]})}))
        for each in numbers[:6]
    ]
    rows = compare(evil, hostile, tolerance=1.0)
    files |= {"c.csv": comparison_csv(rows), "p.csv": published_csv(evil)}
    files |= {"c.md": render_comparison(rows, "md", tolerance=1.0), "p.md": render_published(evil, "md")}
    for _, cell in _texts(files):
        if re.match(r"\s*[=+\-@\t\r]", cell):
            float(cell)  # a negative number
    assert any(cell.startswith("'=HYPERLINK") for _, cell in _texts(files))
    for name, text in files.items():
        if name.endswith(".md"):
            assert "<script" not in text, name
            assert "<img" not in text, name
            assert "\n# x" not in text, name
        if name.endswith(".tex"):
            assert r"\input{" not in text, name


# ---- plug-ins


BAIT = (
    "methods.py",
    "benchmark.py",
    "plugin.py",
    "conftest.py",
    "odd_patch.py",
    "torch.py",
    "json.py",
    "sitecustomize.py",
    "setup.py",
    "__init__.py",
)


@pytest.mark.parametrize("arguments", [["methods"], ["data", "list"], ["data", "check", "mvtec"]])
def test_no_file_that_merely_lies_about_is_run(arguments: list[str], tmp_path: Path) -> None:
    bench = Path(sys.executable).with_name("bench")
    if not bench.exists():
        pytest.skip("the command is not installed beside this Python")
    witness, data = tmp_path / "witness", tmp_path / "mvtec"
    for folder in (tmp_path, data, data / "nut/test/good"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in BAIT:
            (folder / name).write_text(f"open({str(witness)!r}, 'w').close()\n")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: module://plugin\n")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "BENCH_DATA")}
    subprocess.run(
        [bench, *arguments, *(["--data", tmp_path] if arguments[0] == "data" else [])],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert not witness.exists()


def test_a_plugin_that_is_named_is_run(tmp_path: Path) -> None:
    """The counterpart: what is asked for by name has the rights of whoever asks."""
    from benchmark.registry import RegistryError, load_plugin

    (tmp_path / "plugin.py").write_text("import pathlib\npathlib.Path(__file__).with_name('witness').touch()\n")
    with pytest.raises(RegistryError, match="defines no subclass"):
        load_plugin(tmp_path / "plugin.py")
    assert (tmp_path / "witness").exists()


def test_what_is_promised_is_tested() -> None:
    """SECURITY.md names tests; each of them is there."""
    page = TOP / "SECURITY.md"
    if not page.exists():
        pytest.skip("not in a checkout")
    named = re.findall(r"`(test_\w+)::(test_\w+)`", page.read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, test in named:
        assert f"def {test}(" in next(Path(__file__).parent.rglob(f"{file}.py")).read_text(encoding="utf-8"), (
            file,
            test,
        )
