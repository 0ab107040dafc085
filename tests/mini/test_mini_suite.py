"""The mini suite: read by the same cards as the real datasets, exact in its masks, the same on every machine."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from support.faulty_runs import lives, until

from benchmark.data.cards import load_cards
from benchmark.data.check import check_dataset
from benchmark.data.images import read_image
from benchmark.data.masks import MaskRule, read_mask
from benchmark.data.samples import MINI_MARKER, SampleSet, count
from benchmark.data.search import locate
from benchmark.mini import suite as suite_module
from benchmark.mini.captions import family_names
from benchmark.mini.catalogue import CATALOGUE, PAPERS
from benchmark.mini.defects import (
    CONTRAST,
    DEFECTS,
    MAX_AILMENT_AREA,
    MIN_PIXELS,
    NOTICEABLE,
    InvisibleError,
    damage,
    kinds_of,
)
from benchmark.mini.families import FAMILIES, SUITE_ONLY, TRAINING_ONLY
from benchmark.mini.plan import shots
from benchmark.mini.shot import Shot
from benchmark.mini.suite import SUITE_VERSION, SuiteError, image_count, is_suite, make_suite, render, write_shots

CARDS = load_cards()
SHOTS = shots()
LAYOUTS = {name: "repackaged" if name == "cvc_colondb" else "original" for name in CARDS}
LOSSY = {".jpg", ".jpeg"}
MEDICAL = {"head_ct", "brain_mri", "chest_xray", "skin", "colon", "thyroid", "liver_ct", "retina_oct"}

# sha256 over names, pixels before encoding, and masks of some images of each dataset. If these change, raise
# SUITE_VERSION: old results are then of another suite. Print the new ones with `fingerprint(name)`.
FINGERPRINTS: dict[str, str] = {
    "bmad_brain": "eeaf62958c5c7088",
    "bmad_liver": "0415d1ee0deccecc",
    "bmad_resc": "5ebb94b51af1be89",
    "br35h": "0db9192e5030d008",
    "brainmri": "3964dc966a27d713",
    "btad": "eacd5d7d9ad10f29",
    "covid19": "f05359c6b3e8a372",
    "cvc_clinicdb": "afebcd4f6a8d95f2",
    "cvc_colondb": "8477c9e54a99b919",
    "dagm": "27903ea54db9a89d",
    "dtd_synthetic": "ce57406ad31edfd5",
    "endo": "9b507ac21ade2bf2",
    "headct": "f9903c1f0a566e52",
    "isic": "06f4e9a80d4b8d72",
    "kvasir": "d321c272140ef8fc",
    "mpdd": "bbd0371a338ff4c7",
    "mvtec": "3654a5405262c3df",
    "mvtec_ad_2": "5e00fc206ba33da9",
    "sdd": "f6ea4f4f504eca0e",
    "sdd2": "fcc6306cdda306fe",
    "tn3k": "346cef2cc62b6c3d",
    "visa": "ce356cea32abcabb",
}


drawn = cache(render)

pytestmark = pytest.mark.slow  # the whole suite is drawn


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mini") / "suite"
    done: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite_module, "render", drawn)  # keeps what was drawn, to be compared with what is on disk
        make_suite(directory, progress=done.append)
    assert sum(done) == image_count() == len(SHOTS)
    return directory


def read(name: str, root: Path) -> SampleSet:
    samples = locate(CARDS[name], root, None)
    assert samples is not None
    return samples


def is_lossy(path: str) -> bool:
    return Path(path).suffix.lower() in LOSSY


# ---- as a data root


@pytest.mark.parametrize("name", CARDS)
def test_loader_reads_it_by_the_card_of_the_real_dataset(name: str, root: Path) -> None:
    card, samples = CARDS[name], read(name, root)
    assert samples.layout.name == LAYOUTS[name]
    assert not samples.problems
    counts = count(samples.test)
    names = [c.name for c in card.classes]
    assert [*counts] == [*CATALOGUE[name]] == [each for each in names if each in CATALOGUE[name]]
    assert [*counts] == names or card.beyond  # of these, some classes will do
    for normal, anomalous in counts.values():
        assert 8 <= normal + anomalous <= 16
        assert anomalous >= 6
        assert normal >= 6 if "image" in card.levels else normal == 0
    masked = {s.mask is not None for s in samples.test if s.label}
    assert masked == {"pixel" in card.levels}
    if card.beyond or name in {"mvtec", "visa", "mpdd", "btad", "dagm", "dtd_synthetic"}:
        train = Counter(s.class_name for s in samples.train if not s.label)
        assert train == dict.fromkeys(counts, 4)


@pytest.mark.parametrize("name", CARDS)
def test_samples_are_the_planned_shots(name: str, root: Path) -> None:
    if name == "sdd":
        return  # pieces of images; see below
    directory = read(name, root).directory
    found = {(directory / s.key, s.class_name, s.label, s.split) for s in read(name, root).samples}
    planned = [s for s in SHOTS if s.dataset == name and s.split != "extra"]
    assert found == {(root / s.file, s.class_name, int(bool(s.kinds)), s.split) for s in planned}


def test_pieces_of_kolektorsdd(root: Path) -> None:
    samples = read("sdd", root)
    masks = {root / s.file: drawn(s)[1] for s in SHOTS if s.dataset == "sdd"}
    assert len(samples.samples) == 3 * len(masks)
    for sample in samples.samples:
        assert sample.piece is not None
        i, n = sample.piece
        height = len(masks[sample.path])
        assert sample.label == int(masks[sample.path][i * height // n : (i + 1) * height // n].any())


@pytest.mark.parametrize("name", ["mvtec", "brainmri", "kvasir"])
def test_check_finds_only_that_there_are_fewer_images(name: str, root: Path) -> None:
    report = check_dataset(read(name, root))
    assert {p.kind for p in report.problems} <= {"counts", "train-counts"}
    assert not report.identical


def test_defects_are_named_as_in_the_real_datasets(root: Path) -> None:
    for name in ("mvtec", "mpdd"):
        for c in CARDS[name].classes:
            assert {s.defect for s in read(name, root).test if s.class_name == c.name and s.label} == {*c.defects}
    for look in CATALOGUE["mvtec"].values():
        assert len({kind for kinds in look.defects.values() for kind in kinds}) >= min(2, len(look.defects))


def test_oddities_of_the_real_datasets(root: Path) -> None:
    def modes(folder: str) -> set[str]:
        return {Image.open(path).mode for path in (root / folder).iterdir() if path.name != "Thumbs.db"}

    assert (root / "HeadCT/labels.csv").read_text().splitlines()[0] == "id, hemorrhage"
    assert modes("HeadCT/head_ct/head_ct") == {"RGB", "RGBA"}
    assert modes("BrainMRI/brain_tumor_dataset/no") == {"RGB", "L", "P"}
    assert Image.open(root / "BrainMRI/brain_tumor_dataset/no/No15.jpg").format == "PNG"
    for name in ("grid", "screw", "zipper"):
        assert modes(f"mvtec_anomaly_detection/{name}/test/good") == {"L"}
    values = {v for s in SHOTS if s.dataset == "visa" and s.mask for v in np.unique(Image.open(root / s.mask))}
    assert values == set(range(8))
    assert Image.open(root / "KolektorSDD/kos01/Part0.jpg").height > 290
    assert modes("Kvasir-SEG/masks") == {"RGB"}
    noise = np.asarray(Image.open(next((root / "Kvasir-SEG/masks").iterdir())))
    assert len(np.unique(noise)) > 2
    assert any((root / "COVID-19 Radiography Database/Viral Pneumonia").iterdir())
    assert [*root.rglob("Thumbs.db")]


def test_oddities_of_the_datasets_beyond_the_papers(root: Path) -> None:
    def left_out(name: str) -> set[str]:
        return {Path(file).parent.as_posix() for each in read(name, root).left_out for file in each.files}

    assert [file for each in read("sdd2", root).left_out for file in each.files] == ["train/10301 (copy).png"]
    assert left_out("mvtec_ad_2") == {
        f"{name}/{folder}" for name in CATALOGUE["mvtec_ad_2"] for folder in ("validation/good", "test_private")
    }
    assert {len(read(name, root).normal_masks) for name in CARDS if name.startswith("bmad_")} == {6}
    for name in ("sdd2", "bmad_brain"):
        assert not np.asarray(Image.open(read(name, root).normal_masks[0][1])).any()


def test_a_scene_of_mvtec_ad_2_is_photographed_under_several_lights() -> None:
    scenes: dict[tuple[str, str, int], list[Shot]] = {}
    for shot in (s for s in SHOTS if s.dataset == "mvtec_ad_2" and s.split == "test"):
        scenes.setdefault((shot.class_name, shot.defect, shot.index), []).append(shot)
    for lit in scenes.values():
        assert [Path(shot.file).stem[4:] for shot in lit] == ["regular", "overexposed", "underexposed"]
        (regular, mask), *others = map(drawn, lit)
        assert all((other == mask).all() for _, other in others)
        for shot, (pixels, _) in zip(lit[1:], others, strict=True):
            assert np.abs(pixels - (regular * shot.light).clip(0, 255)).max() <= 1  # rounding


def test_names_are_safe_everywhere(root: Path) -> None:
    files = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    assert len({file.casefold() for file in files}) == len(files)
    for file in files:
        assert file.isascii()
        assert not set(file) & set('<>:"\\|?*')
        assert not any(part.endswith((" ", ".")) for part in file.split("/"))


def test_it_is_small_and_says_what_it_is(root: Path) -> None:
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 60e6
    marker = json.loads((root / MINI_MARKER).read_text())
    assert marker["synthetic"] is True
    assert is_suite(root)


# ---- exact


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if "pixel" in card.levels])
def test_masks_on_disk_are_the_exact_ones(name: str, root: Path) -> None:
    threshold = read(name, root).layout.mask_threshold
    for shot in (s for s in SHOTS if s.dataset == name and s.mask):
        pixels, exact = drawn(shot)
        assert shot.mask
        assert exact.any() == bool(shot.kinds)
        mask = read_mask(root / shot.mask, MaskRule(threshold), size=read_image(root / shot.file).size)
        if is_lossy(shot.mask):
            inner, outer = (
                ndimage.binary_erosion(exact, np.ones((3, 3))),
                ndimage.binary_dilation(exact, np.ones((3, 3))),
            )
            assert mask[inner].all()
            assert not mask[~outer].any()
        else:
            assert (mask == exact).all()
        assert pixels.shape[:2] == exact.shape


def test_images_on_disk_are_the_drawn_ones(root: Path) -> None:
    for shot in SHOTS[::3]:
        pixels, stored = drawn(shot)[0], np.asarray(read_image(root / shot.file))
        if is_lossy(shot.file) and shot.encoding != "PNG":
            assert np.abs(pixels.astype(int) - stored).mean() < 6
        else:
            assert (pixels == stored).all()


def fingerprint(name: str) -> str:
    digest = hashlib.sha256()
    some = [s for s in SHOTS if s.dataset == name]
    for shot in (some[i * 37 % len(some)] for i in range(10)):  # classes, splits and labels well mixed
        pixels, mask = drawn(shot)
        digest.update(f"{shot.file} {shot.mask} {pixels.shape}".encode())
        digest.update(pixels.tobytes() + mask.tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", CARDS)
def test_fingerprint(name: str) -> None:
    assert fingerprint(name) == FINGERPRINTS[name]


def tree(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_order_does_not_matter(root: Path, tmp_path: Path) -> None:
    some = [s for s in SHOTS if s.dataset in {"btad", "kvasir"}]
    write_shots(tmp_path, some[::-1])
    again = tree(tmp_path)
    assert len(again) > len(some)
    assert again == {name: (root / name).read_bytes() for name in again}


def test_several_processes_draw_the_same_bytes(root: Path, tmp_path: Path) -> None:
    some, done = [s for s in SHOTS if s.dataset == "btad"], []
    make_suite(tmp_path / "suite", which=some, processes=3, progress=done.append)
    assert sum(done) == len(some)
    again = tree(tmp_path / "suite")
    del again[MINI_MARKER]
    assert len(again) > len(some)
    assert again == {name: (root / name).read_bytes() for name in again}


# ---- writing


def test_only_empty_directories_and_suites_are_written_to(tmp_path: Path) -> None:
    few = SHOTS[:2]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(SuiteError, match="left alone"):
        make_suite(tmp_path / "mine", which=few)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # also over an older one
        make_suite(tmp_path / "empty", which=few)
        assert is_suite(tmp_path / "empty")
        (tmp_path / "empty" / "old").touch()
    make_suite(tmp_path / "empty", which=few)
    assert not (tmp_path / "empty" / "old").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"mine", "empty"}


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_leaves_nothing(tmp_path: Path, processes: int) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_suite(tmp_path / "suite", which=SHOTS, processes=processes, progress=stop)
    assert not [*tmp_path.iterdir()]
    assert not is_suite(tmp_path / "suite")


def test_a_process_that_dies_while_it_draws_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_module, "render", lambda shot: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(SuiteError, match="a process that draws died; draw again"):
        make_suite(tmp_path / "suite", which=SHOTS[:20], processes=2)
    assert not [*tmp_path.iterdir()]


def test_a_kill_leaves_no_suite_and_no_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DRAWS, tmp_path / "suite"], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        helping = [int(each) for each in one.stdout.readline().split()]
        one.kill()
    assert len(helping) == 2
    until(lambda: not any(lives(each) for each in helping))
    assert not (tmp_path / "suite").exists()


DRAWS = """
import multiprocessing, pathlib, sys
from benchmark.mini.suite import make_suite

def tell(_):
    print(*[each.pid for each in multiprocessing.active_children()], flush=True)

make_suite(pathlib.Path(sys.argv[1]), processes=2, progress=tell)
"""


def test_a_suite_of_another_version_is_none(tmp_path: Path) -> None:
    make_suite(tmp_path / "suite", which=SHOTS[:1])
    assert is_suite(tmp_path / "suite")
    marker = tmp_path / "suite" / MINI_MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": SUITE_VERSION + 1}))
    assert not is_suite(tmp_path / "suite")
    marker.write_text("[]")
    assert not is_suite(tmp_path / "suite")


# ---- families and defects


@pytest.mark.parametrize("name", FAMILIES)
def test_normal_specimens_are_sound_and_vary(name: str) -> None:
    one, same, two = (FAMILIES[name](np.random.default_rng(seed), 104) for seed in (1, 1, 2))
    for picture in (one, two):
        assert picture.pixels.shape == (104, 104, 3)
        assert picture.pixels.dtype == np.float32
        assert 0 <= picture.pixels.min() <= picture.pixels.max() <= 1
        assert picture.pixels.std() > 0.02
        assert picture.foreground.shape == (104, 104)
        assert picture.foreground.mean() > 0.04
    assert (one.pixels == same.pixels).all()
    assert np.abs(one.pixels - two.pixels).mean() > 0.01


@pytest.mark.parametrize("kind", DEFECTS)
def test_mask_is_where_the_picture_differs(kind: str) -> None:
    made = 0
    for i, name in enumerate(name for name in FAMILIES if kind in kinds_of(name)):
        if i % 7 and name not in MEDICAL:
            continue
        picture = FAMILIES[name](np.random.default_rng(i), 112)
        try:
            pixels, mask = damage(np.random.default_rng(i), picture, kind)
        except InvisibleError:
            continue
        made += 1
        change = np.abs(pixels - picture.pixels).max(2)
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() <= pixels.max() <= 1
        assert MIN_PIXELS <= mask.sum() <= MAX_AILMENT_AREA * mask.size
        assert not (mask & ~picture.foreground).any()
        assert not change[~mask].any()
        # Closing only fills gaps, so what changed closes to the whole mask again.
        changed = (change > NOTICEABLE) & mask
        assert ((ndimage.binary_closing(np.pad(changed, 3), np.ones((3, 3)))[3:-3, 3:-3] | changed) >= mask).all()
        assert change[mask].mean() >= CONTRAST
    assert made >= (1 if kind not in kinds_of("tile") else 5)


def test_a_grey_picture_stays_grey() -> None:
    picture = FAMILIES["ripples"](np.random.default_rng(0), 112)
    for kind in ("stain", "print", "rust"):
        pixels, _ = damage(np.random.default_rng(1), picture, kind)
        assert (pixels == pixels[..., :1]).all()


def test_some_families_are_unseen_and_some_are_for_training_only() -> None:
    used = {look.family for looks in CATALOGUE.values() for look in looks.values()}
    assert used.isdisjoint(TRAINING_ONLY)
    assert used >= SUITE_ONLY
    assert used | TRAINING_ONLY == {*FAMILIES}
    assert len(TRAINING_ONLY) >= 12
    assert len(SUITE_ONLY) >= 10
    homes = {name for name, looks in CATALOGUE.items() for look in looks.values() if look.family in SUITE_ONLY}
    assert homes & {*PAPERS} == {"mvtec", "visa", "mpdd", "btad", "dagm", "dtd_synthetic", "covid19"}
    assert homes - {*PAPERS} == {"mvtec_ad_2", "bmad_liver", "bmad_resc"}


def test_the_mini_backbone_was_trained_with_the_names_of_the_papers_datasets_alone() -> None:
    names = {name for of_family in family_names().values() for name in of_family}
    assert "electrical commutators" in names
    assert names.isdisjoint({"metal", "fabric", "sheet metal", "walnuts", "liver", "retina"})
