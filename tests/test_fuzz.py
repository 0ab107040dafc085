"""Random and mutated input for every reader: the error that is promised or a value that holds, never anything else.

Normally each property sees a few examples, always the same. `FUZZ_SECONDS=600 pytest tests/test_fuzz.py -s`
spends so many seconds on new ones and says how many there were; what fails there becomes an example here.
"""

import contextlib
import copy
import functools
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import string
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save
from support.archive_server import tarred, zipped
from support.reference import REFERENCE_RECORDS

from benchmark.api.selection import select_methods
from benchmark.cli.settings import parse_settings
from benchmark.clip.architectures import BackboneError
from benchmark.clip.weight_files import read_entries, read_state_dict
from benchmark.common.regions import find_regions
from benchmark.contract import Method
from benchmark.data.cards import Card, CardError, cards_directory, load_card, load_cards
from benchmark.data.check import check_dataset, render
from benchmark.data.csv_tables import BadTableError
from benchmark.data.folders import PlainFolder, read_folder
from benchmark.data.images import ImageError, read_image
from benchmark.data.layouts import read_layout
from benchmark.data.masks import MaskRule, read_mask
from benchmark.data.samples import DatasetError, read_samples
from benchmark.data.tree import inside, walk
from benchmark.downloads.unpacking import most_bytes, unpack
from benchmark.errors import BenchError
from benchmark.metrics.image import ImageMetrics
from benchmark.metrics.per_image import PerImageAccumulator, PerImageError, read_per_image, to_bytes
from benchmark.metrics.pixel import MIN_BINS, PixelMetrics, image_pixels
from benchmark.records.checkpoints import CheckpointError, read_checkpoint
from benchmark.records.records import Record, RecordError, read_record, write_record
from benchmark.registry import all_methods, make_options
from benchmark.tables.published import PublishedError, Sources, published_directory, read_numbers, read_sources

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
PATIENCE = 30.0
"""Seconds that one example may take before it counts as a hang."""

NUMBERS = itertools.count()
PROPERTIES: list[str] = []


def fuzz(*strategies: Any, few: int, examples: Sequence[tuple[Any, ...]] = ()) -> Callable[[Any], Any]:
    """Make a property a test: `few` examples, always the same, or new ones for its share of FUZZ_SECONDS."""

    def wrap(body: Callable[..., None]) -> Callable[[], None]:
        PROPERTIES.append(body.__name__)
        checks = list(HealthCheck)

        def test() -> None:
            started = time.monotonic()
            count = 0

            def counted(values: tuple[Any, ...]) -> None:
                nonlocal count
                count += 1
                with patience():
                    body(*values)

            for round_number in itertools.count():
                run = given(st.tuples(*strategies))(counted)
                for values in examples if not round_number else ():
                    run = example(values)(run)
                if SECONDS:
                    run = seed(int.from_bytes(os.urandom(8)))(run)
                settings(
                    max_examples=200 if SECONDS else few,
                    derandomize=not SECONDS,
                    database=None,
                    deadline=None,
                    suppress_health_check=checks,
                    print_blob=True,
                )(run)()
                if not SECONDS or time.monotonic() - started > SECONDS / len(PROPERTIES):
                    break
            if SECONDS:
                print(f"\n{body.__name__}: {count} examples in {time.monotonic() - started:.0f} s")

        test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, __name__
        return pytest.mark.filterwarnings("ignore:Detected pickle protocol")(test)

    return wrap


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Turn a hang into a failure."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"took more than {PATIENCE} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def _clean() -> Iterator[None]:
    yield
    shutil.rmtree(top(), ignore_errors=True)


@functools.cache
def top() -> Path:
    """Return the folder of all files, made when the first is written."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def fresh() -> Path:
    """Return a new folder."""
    folder = top() / str(next(NUMBERS))
    folder.mkdir(parents=True)
    return folder


def file_of(content: bytes, name: str) -> Path:
    path = fresh() / name
    path.write_bytes(content)
    return path


JUNK = (
    *(b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b"\\", b"/", b"../", b",", b";", b"\n", b"\r", b"=", b"{}"),
    *(b"[[", b"]]", b"{", b"}", b"#", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400, b"9" * 5000, b"null", b"true"),
    *(b"[" * 3000, b'{"a":' * 2000, b"\xf0\x9f\x92\xa9", b"\xed\xa0\x80", b"\\ud800", b"a" * 200_000, b"(a+)+", b".*"),
)


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """Some of these bytes with pieces cut out, doubled, moved and replaced."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from((0, 1, 1, 2, 4, 16, 64, 512)))
        kind = draw(st.sampled_from(("cut", "double", "replace", "flip", "end")))
        if kind == "cut":
            del content[at : at + length]
        elif kind == "double":
            content[at:at] = content[at : at + length]
        elif kind == "flip" and content:
            content[min(at, len(content) - 1)] ^= 1 << draw(st.integers(0, 7))
        elif kind == "end":
            del content[at:]
        else:
            content[at : at + length] = draw(st.sampled_from(JUNK) | st.binary(max_size=8))
    return bytes(content)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from((-1, 0, 2**31, 2**63, 2**64, 10**400))
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ("../x", "/etc/passwd", "a\\b", "C:x", "a\0b", "(a+)+", ".*.*.*", "{stem.__class__}", "{stem:>9999}")
    )
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def altered(draw: st.DrawFn, originals: Sequence[Any]) -> Any:
    """A parsed document with some values replaced, left out or added."""
    document = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        place, key = document, None
        parent: Any = None
        for _ in range(draw(st.integers(1, 6))):
            if not isinstance(place, dict | list) or not place:
                break
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            parent, key = place, draw(st.sampled_from(keys))
            place = parent[key]
        if parent is None:
            return draw(ANYTHING)
        action = draw(st.sampled_from(("replace", "remove", "add", "double")))
        if action == "replace":
            parent[key] = draw(ANYTHING)
        elif action == "remove":
            del parent[key]
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = draw(ANYTHING)
        else:
            parent.append(copy.deepcopy(place) if action == "double" else draw(ANYTHING))
    return document


# ---- cards

CARD_FILES = sorted(cards_directory().glob("*.toml"))
CARDS = [path.read_bytes() for path in CARD_FILES]
PATHS = ("a", "a/b/good/01", "0/good/1", "\n", "aA1_- .")
"""Short: a card is reviewed like code, and a careless pattern of one is slow."""


def fills_templates(card: Card) -> None:
    """Try the patterns of a card on some paths, and fill its templates with what they find."""
    for rule in (rule for layout in card.layouts for rule in layout.rules):
        for path in PATHS:
            match = re.fullmatch(rule.pattern, path)
            if match:
                groups = {name: value or "" for name, value in match.groupdict().items()}
                assert all(len(template.format_map(groups)) < 10_000 for template in rule.mask)


@fuzz(mutated(CARDS), few=60, examples=[(b"x = " + b"[" * 3000,), (b"version = " + b"9" * 5000,)])
def test_a_card_is_read_or_named(content: bytes) -> None:
    found = re.search(rb'^name = "([a-z0-9_]{1,40})"', content)
    path = file_of(content, f"{found[1].decode() if found else 'card'}.toml")
    try:
        card = load_card(path)
    except CardError as error:
        assert str(path) in str(error)
        return
    fills_templates(card)


@fuzz(altered([tomllib.loads(card.decode()) for card in CARDS]), few=60)
def test_a_card_of_any_values_is_valid_or_refused(document: Any) -> None:
    try:
        card = Card.model_validate(document)
    except ValidationError:
        return
    fills_templates(card)
    paths = [*(folder for layout in card.layouts for folder in (*layout.roots, *layout.needs)), *card.folders]
    paths += [layout.index.file for layout in card.layouts if layout.index]
    assert not any(path.startswith("/") or ".." in path.split("/") or "\0" in path for path in paths)


# ---- tables and trees of datasets

PNG = io.BytesIO()
Image.new("L", (2, 2), 255).save(PNG, "PNG")
VISA = load_cards()["visa"]
HEADCT = load_cards()["headct"]
INDEX = (
    b"object,split,label,image,mask\n"
    b"candle,test,normal,candle/Data/Images/Normal/0.JPG,\n"
    b"candle,test,anomaly,candle/Data/Images/Anomaly/1.JPG,candle/Data/Masks/Anomaly/1.png\n"
    b'pcb1,train,normal,"pcb1/Data/Images/Normal/2.JPG",\n'
)
ESCAPES = (
    INDEX.replace(b"candle/Data/Images/Normal/0.JPG", b"../secret.png"),
    INDEX.replace(b"candle/Data/Images/Normal/0.JPG", b"/etc/passwd"),
    INDEX.replace(b"candle/Data/Images/Normal/0.JPG", b"..\\secret.png"),
    INDEX.replace(b"candle/Data/Images/Normal/0.JPG", b"candle/../../secret.png"),
    INDEX.replace(b"candle/Data/Masks/Anomaly/1.png", b"../secret.png"),
)
_index_folder: list[Path] = []


def visa() -> Path:
    """Return VisA's folder with three images and one mask, and a secret beside it."""
    if not _index_folder:
        folder = fresh()
        (folder / "secret.png").write_bytes(PNG.getvalue())
        for name in ("Images/Normal/0.JPG", "Images/Anomaly/1.JPG", "Masks/Anomaly/1.png"):
            (folder / "visa/candle/Data" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "visa/candle/Data" / name).write_bytes(PNG.getvalue())
        (folder / "visa/split_csv").mkdir()
        _index_folder.append(folder / "visa")
    return _index_folder[0]


def stays_inside(data: Any, directory: Path) -> None:
    real = os.path.realpath(directory)
    for sample in data.samples:
        for path in (sample.path, sample.mask):
            assert path is None or inside(os.path.realpath(path), real)


@fuzz(mutated((INDEX, *ESCAPES)) | st.binary(max_size=200), few=80, examples=[(each,) for each in (INDEX, *ESCAPES)])
def test_a_list_of_samples_names_files_of_the_dataset_or_none(content: bytes) -> None:
    directory = visa()
    (directory / "split_csv/1cls.csv").write_bytes(content)
    try:
        data = read_samples(VISA, directory)
    except DatasetError as error:
        assert str(directory) in str(error)
        return
    stays_inside(data, directory)
    assert len(data.fingerprint) == 64


LABELS = b"id, hemorrhage\n0, 1\n1, 0\n2, 1\n"


@fuzz(mutated((LABELS,)) | st.binary(max_size=200), few=60)
def test_a_table_of_labels_is_read_or_does_not_fit(content: bytes) -> None:
    directory = fresh()
    for layout in HEADCT.layouts:
        for name in layout.labels.file if layout.labels else ():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)
    for number in range(3):
        path = directory / f"head_ct/{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PNG.getvalue())
    tree = walk(directory)
    for layout in HEADCT.layouts:
        for root in layout.roots:
            try:
                samples, *_ = read_layout(HEADCT, layout, tree, root)
            except BadTableError as error:
                assert error.path in tree.files
            else:
                assert all(sample.label in (0, 1) for sample in samples)


META = json.dumps(
    {"train": {}, "test": {"candle": [{"img_path": "candle/Data/Images/Normal/0.JPG", "mask_path": "", "anomaly": 0}]}}
).encode()


@fuzz(mutated((META,)) | altered([json.loads(META)]).map(lambda each: json.dumps(each).encode()), few=40)
def test_a_meta_json_changes_nothing_but_remarks(content: bytes) -> None:
    directory = visa()
    (directory / "split_csv/1cls.csv").write_bytes(INDEX)
    (directory / "meta.json").unlink(missing_ok=True)
    plain = read_samples(VISA, directory)
    (directory / "meta.json").write_bytes(content)
    data = read_samples(VISA, directory)
    assert (data.samples, data.fingerprint) == (plain.samples, plain.fingerprint)
    (directory / "meta.json").unlink()
    (directory / "meta.json").write_bytes(content)
    report = check_dataset(data, workers=1)
    assert all(not problem.fatal for problem in report.problems if problem.kind == "meta.json")
    render(report).encode()


NAMES = st.sampled_from(
    ("good", "bad", "test", "train", "ground_truth", "masks", "normal", "yes", "a.png", "a_mask.png", "b.PNG", "A.png")
) | st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)
FOLDER_CARDS = [load_cards()[name] for name in ("mvtec", "btad", "brainmri", "visa")]


@fuzz(
    st.lists(
        st.tuples(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(("file", "link", "up", "loop"))), max_size=8
    ),
    few=60,
    examples=[([(["test", "good", "\udcff.png"], "file"), (["test", "bad", "=1+1\n|.png"], "file")],)],
)
def test_any_tree_is_a_dataset_or_fits_no_layout(entries: list[tuple[list[str], str]]) -> None:
    top = fresh()
    (top / "secret.png").write_bytes(PNG.getvalue())
    directory = top / "data"
    directory.mkdir()
    for parts, kind in entries:
        path = directory.joinpath(*parts)
        with contextlib.suppress(OSError, UnicodeEncodeError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                path.write_bytes(PNG.getvalue())
            else:
                target = {"link": top / "secret.png", "up": top, "loop": directory}[kind]
                path.symlink_to(os.path.relpath(target, path.parent))
    readers = [functools.partial(read_samples, card) for card in FOLDER_CARDS]
    for read in (*readers, lambda top: read_folder(PlainFolder(directory=top))):
        try:
            data = read(directory)
        except DatasetError as error:
            assert str(directory) in str(error)
            continue
        stays_inside(data, directory)
        assert len({sample.key for sample in data.samples}) == len(data.samples)
        assert len(data.fingerprint) == 64
        for sample in data.samples:
            sample.key.encode()  # it becomes part of records, which are UTF-8


# ---- images and weights


def _pictures() -> list[bytes]:
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    made = []
    for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "PCX"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form)
        made.append(file.getvalue())
    for mode in ("P", "RGBA", "LA", "1"):
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, "PNG")
        made.append(file.getvalue())
    for values, options in (
        (np.arange(192, dtype=np.uint16).reshape(8, 8, 3), {"photometric": "rgb"}),
        (np.linspace(0, 1, 64).reshape(8, 8), {"compression": "zlib"}),
        (np.linspace(0, 1, 64).reshape(8, 8), {"bigtiff": True}),
        (np.zeros((32, 32), np.uint16), {"tile": (16, 16), "bigtiff": True}),
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, values, **options)  # type: ignore[arg-type]
        made.append(file.getvalue())
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(file, "PNG")
    return [*made, file.getvalue()]


PICTURES = _pictures()


@fuzz(mutated(PICTURES), st.sampled_from(("a.png", "a.tif")), few=100)
def test_an_image_is_read_or_named(content: bytes, name: str) -> None:
    path = file_of(content, name)
    for read in (read_image, lambda path: read_mask(path, MaskRule(127)), lambda path: read_mask(path, MaskRule(None))):
        try:
            found = read(path)
        except ImageError as error:
            assert str(path) in str(error)
        else:
            assert getattr(found, "mode", "RGB") == "RGB"


def _weights() -> list[tuple[str, bytes]]:
    state = {"a": torch.zeros(3, 2), "b.c": torch.ones(4, dtype=torch.float16)}
    file = io.BytesIO()
    torch.save({"state_dict": state}, file)
    old = io.BytesIO()
    torch.save(state, old, _use_new_zipfile_serialization=False)
    return [(".safetensors", save(state)), (".pt", file.getvalue()), (".bin", old.getvalue())]


@fuzz(st.sampled_from(_weights()).flatmap(lambda each: st.tuples(st.just(each[0]), mutated((each[1],)))), few=60)
def test_weights_are_tensors_or_named(each: tuple[str, bytes]) -> None:
    path = file_of(each[1], f"w{each[0]}")
    try:
        states = [read_state_dict(path), read_entries([path], suits=bool)]
    except BackboneError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(value, torch.Tensor) for state in states for value in state.values())


# ---- records, results per image, checkpoints, published numbers

RECORD_FILES = REFERENCE_RECORDS[::60]
RECORDS = [path.read_bytes() for path in RECORD_FILES]


def read_any_record(content: bytes) -> None:
    path = file_of(content, "a.json")
    try:
        record = read_record(path)
    except RecordError as error:
        assert str(path) in str(error)
        return
    assert Record.model_validate(record.model_dump()) == record or "nan" in repr(record)
    if "--" in record.id and "/" not in record.id and len(record.id) < 100 and "\0" not in record.id:
        with contextlib.suppress(ValueError):  # NaN
            assert read_record(write_record(fresh(), record)) == record


@fuzz(mutated(RECORDS), few=60)
def test_a_record_is_read_or_named(content: bytes) -> None:
    read_any_record(content)


@fuzz(altered([json.loads(record) for record in RECORDS]), few=60)
def test_a_record_of_any_values_is_read_or_named(document: Any) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        read_any_record(json.dumps(document, ensure_ascii=False).encode())


def _per_image() -> dict[str, Any]:
    rng, gathering = np.random.default_rng(0), PerImageAccumulator()
    for index in range(3):
        scores = rng.random((8, 8)).astype(np.float32)
        gathering.add(f"{index}.png", index % 2, float(scores.max()), scores[::4, ::4])
        gathering.add_pixels(image_pixels(scores, find_regions((scores > 0.7) & bool(index % 2))))
    gathering.add_texts({"text": rng.normal(size=(2, 2, 4))})
    with np.load(io.BytesIO(to_bytes({"a": gathering.finish()}))) as arrays:
        return dict(arrays)


PER_IMAGE = _per_image()


def read_any_images(content: bytes) -> None:
    path = file_of(content, "a.npz")
    try:
        found = read_per_image(path, hashlib.sha256(content).hexdigest())
    except PerImageError as error:
        assert str(path) in str(error)
        return
    for images in found.values():
        assert len(images.keys) == len(images.labels) == len(images.scores) == len(images.maps)
        assert np.isfinite(images.scores).all()


def archive(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@fuzz(mutated((archive(PER_IMAGE),)), few=60)
def test_results_per_image_are_read_or_named(content: bytes) -> None:
    read_any_images(content)


ODD_ARRAYS = (
    st.sampled_from(
        (
            *(np.array(0), np.zeros((0, 3)), np.array([None, "a"], dtype=object), np.array(["x"]), np.full(3, np.nan)),
            *(np.full(3, np.inf), np.zeros((3, 2, 2)), np.zeros(3, np.uint8), np.array([0, 1, 2], np.uint8)),
            *(np.zeros((3, 4), np.uint32), np.array([2**63], np.uint64), np.array([b"\xff"]), np.zeros(3, "M8[s]")),
        )
    )
    | st.none()
)


@fuzz(st.dictionaries(st.sampled_from([*PER_IMAGE, "0/texts/x", "1/keys", "../x"]), ODD_ARRAYS, min_size=1), few=60)
def test_results_per_image_of_any_arrays_are_read_or_named(changes: dict[str, Any]) -> None:
    read_any_images(archive({name: array for name, array in (PER_IMAGE | changes).items() if array is not None}))


# ---- archives of datasets

MEMBERS = {"a/good/000.png": b"\x89PNG" * 40, "a/b.csv": b"x,y\n" * 30, "README.txt": b""}
PACKED = [zipped(MEMBERS), *(tarred(MEMBERS, mode=mode) for mode in ("w", "w:gz", "w:xz", "w:bz2"))]


@fuzz(mutated(PACKED) | st.binary(max_size=300), few=100)
def test_an_archive_is_unpacked_or_named(content: bytes) -> None:
    path = file_of(content, "a.zip")
    (folder := path.with_name("folder")).mkdir()
    try:
        unpack(path, folder)
    except BenchError as error:
        assert str(path) in str(error) or str(folder) in str(error)
    assert sorted(path.parent.iterdir()) == [path, folder]
    inside_it = [each for each in folder.rglob("*") if not each.is_dir()]
    assert all(each.is_file() and not each.is_symlink() for each in inside_it)
    assert sum(each.stat().st_size for each in inside_it) <= most_bytes(len(content))


CHECKPOINTS = sorted((Path(__file__).parents[1] / "benchmark/mini/checkpoints").glob("*.json"))


@fuzz(
    mutated([path.read_bytes() for path in CHECKPOINTS])
    | altered([json.loads(path.read_bytes()) for path in CHECKPOINTS]).map(lambda each: json.dumps(each).encode()),
    st.sampled_from(CHECKPOINTS),
    few=60,
)
def test_a_checkpoint_is_read_or_named(content: bytes, beside: Path) -> None:
    path = file_of(content, beside.name)
    path.with_suffix(".safetensors").symlink_to(beside.with_suffix(".safetensors"))
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        assert str(path.parent) in str(error)


SOURCES = (published_directory() / "sources.toml").read_bytes()
KNOWN = read_sources(published_directory() / "sources.toml")
TABLES = {path.name: path.read_bytes()[:2000].rpartition(b"\n")[0] for path in published_directory().glob("*.csv")}


@fuzz(mutated((SOURCES,)), few=30)
def test_sources_are_read_or_named(content: bytes) -> None:
    path = file_of(content, "sources.toml")
    try:
        assert isinstance(read_sources(path), Sources)
    except PublishedError as error:
        assert str(path) in str(error)


@fuzz(st.sampled_from(sorted(TABLES)).flatmap(lambda n: st.tuples(st.just(n), mutated((TABLES[n],)))), few=60)
def test_published_numbers_are_read_or_named(table: tuple[str, bytes]) -> None:
    path = file_of(table[1], table[0])
    try:
        numbers = read_numbers(path, KNOWN)
    except PublishedError as error:
        assert str(path) in str(error)
    else:
        assert all(0 <= number.row.value <= 100 for number in numbers)


# ---- the command line

METHODS = {name: each for name, each in all_methods().items() if each.__module__.startswith("methods.")}
OPTIONS = [(each, name) for each in METHODS.values() for name in each.Options.__dataclass_fields__]
WORDS = (
    st.text(max_size=12)
    | st.text(string.printable, max_size=12)
    | ANYTHING.map(json.dumps)
    | st.sampled_from(("", "[]", "{}", "1e999", "NaN", "-Infinity", "true", '"\\ud800"', "[" * 200, "9" * 300))
)


@fuzz(st.sampled_from(OPTIONS), WORDS, few=100)
def test_an_option_is_taken_or_named(option: tuple[type[Method], str], word: str) -> None:
    method, name = option
    try:
        options = make_options(method, {name: word})
    except BenchError as error:
        assert f"{method.name}.{name}" in str(error)
    else:
        assert isinstance(options, method.Options)


@fuzz(
    st.lists(
        st.text(max_size=12)
        | st.builds(
            "{}.{}={}".format, st.sampled_from(["protocol", *METHODS]) | st.text(max_size=4), st.text(max_size=8), WORDS
        )
        | WORDS.map("protocol.mask_gt0={}".format),
        max_size=3,
    ),
    few=60,
)
def test_settings_are_taken_or_refused(given_settings: list[str]) -> None:
    with contextlib.suppress(BenchError):
        select_methods(sorted(METHODS)[:2], parse_settings(given_settings))


# ---- metrics that add up

SCORES = st.sampled_from((0.0, -0.0, 0.25, 0.5, 0.75, 1.0, 1 - 2**-24, 2**-149, -1.0, 1e30, -1e30)) | st.floats(
    -100, 100, width=32
)


@st.composite
def scenes(draw: st.DrawFn) -> list[tuple[Any, Any]]:
    """Some small maps with masks."""
    count, side = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    values = st.lists(SCORES, min_size=side * side, max_size=side * side)
    bits = st.lists(st.booleans(), min_size=side * side, max_size=side * side)
    return [
        (np.array(draw(values), np.float32).reshape(side, side), np.array(draw(bits)).reshape(side, side))
        for _ in range(count)
    ]


def gathered(scene: Sequence[tuple[Any, Any]]) -> PixelMetrics:
    metrics = PixelMetrics(max_bins=MIN_BINS, buffer_pixels=64)  # sorts into bins often
    for index, (scores, mask) in enumerate(scene):
        metrics.update(scores, mask)
        if index % 2:
            metrics.compute()  # what was gathered goes into the histogram
    return metrics


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value == other[name] or value == pytest.approx(other[name], abs=1e-9), name


@fuzz(scenes(), st.randoms(use_true_random=False), st.integers(1, 4), few=60)
def test_any_split_over_workers_in_any_order_gives_the_same(scene: list[Any], chance: Any, parts: int) -> None:
    whole = gathered(scene).compute()
    shuffled = chance.sample(scene, len(scene))
    pieces = [gathered(shuffled[i::parts]) for i in range(parts)]
    left = PixelMetrics(max_bins=MIN_BINS)
    for each in pieces:
        left.merge(each)
    right = PixelMetrics(max_bins=MIN_BINS)
    for each in reversed(pieces):
        each.merge(right)
        right = each
    assert_alike(left.compute(), whole)
    assert_alike(right.compute(), whole)
    assert all(value is None or 0 <= value <= 1 + 1e-9 for value in whole.values())


@fuzz(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 1)), max_size=20),
    st.integers(0, 20),
    few=60,
)
def test_image_scores_add_up_in_any_order(images: list[tuple[float, int]], cut: int) -> None:
    sides = []
    for part in (images, images[:cut], images[cut:]):
        metrics = ImageMetrics()
        for score, label in part:
            metrics.update(score, label)
        sides.append(metrics)
    whole, first, second = sides
    second.merge(first)
    assert_alike(second.compute(), whole.compute())
    assert all(value is None or 0 <= value <= 1 + 1e-9 for value in whole.compute().values())
