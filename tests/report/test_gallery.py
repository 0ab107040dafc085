"""The gallery: contours against masks, percentiles against scipy and numpy, and the data that its script draws from."""

import base64
import json
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.stats import percentileofscore
from skimage.measure import grid_points_in_poly, label
from support.study import KIND, SCRIPT, Study

from benchmark.metrics.per_image import ClassImages
from benchmark.protocol import Protocol
from benchmark.report.images import gallery, photos, scale
from benchmark.report.images.contours import UNITS, contours, svg_path
from benchmark.report.images.gallery import Gallery, class_gallery, select_images
from benchmark.report.rendering import SiteFiles

Masks = npt.NDArray[np.bool_]


def test_the_contour_of_a_rectangle_runs_around_its_pixels() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:5, 3:9] = True
    (points,) = contours(mask)
    assert points.min(axis=0).tolist() == [3, 2]
    assert points.max(axis=0).tolist() == [9, 5]
    assert (points[0] == points[-1]).all()
    path = svg_path([points], (20, 10))
    numbers = np.array(path[1:-1].replace("L", " ").split(), float).reshape(-1, 2)
    assert numbers.min(axis=0).tolist() == [UNITS * 3 / 20, UNITS * 2 / 10]
    assert numbers.max(axis=0).tolist() == [UNITS * 9 / 20, UNITS * 5 / 10]


def test_contours_of_masks_that_fill_the_image_are_closed_and_a_pixel_is_not_lost() -> None:
    (points,) = contours(np.ones((6, 8), bool))
    assert [points.min(axis=0).tolist(), points.max(axis=0).tolist()] == [[0, 0], [8, 6]]
    assert contours(np.zeros((6, 8), bool)) == []
    assert svg_path([], (8, 6)) == ""
    pixel = np.zeros((2000, 3000), bool)
    pixel[1999, 7] = True
    (points,) = contours(pixel)
    assert np.abs(points - [7.5, 1999.5]).max() == 0.5
    assert svg_path([points], (3000, 2000)).startswith("M")
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    assert len(contours(ring)) == 2


@given(arrays(bool, (9, 11)))
def test_contours_hold_the_mask(mask: Masks) -> None:
    """No pixel changes sides but one that the contour passes, and each region has a contour."""
    found = contours(mask)
    inside = np.zeros(mask.shape, bool)
    for points in found:  # their parity, so that holes are outside
        inside ^= grid_points_in_poly(mask.shape, points[:, ::-1] - 0.5)
    padded = np.pad(mask, 1)
    whole = np.min([padded[y : y + 9, x : x + 11] for y in range(3) for x in range(3)], axis=0)
    none = np.max([padded[y : y + 9, x : x + 11] for y in range(3) for x in range(3)], axis=0) == 0
    assert inside[whole].all()
    assert not inside[none].any()
    assert len(found) >= label(mask, connectivity=2).max()


def test_a_contour_of_a_large_mask_is_short() -> None:
    rows, columns = np.mgrid[:1024, :1024]
    disc = (rows - 500) ** 2 + (columns - 400) ** 2 < 300**2
    (points,) = contours(disc)
    assert len(points) < 80
    assert np.abs(np.hypot(points[:, 0] - 400.5, points[:, 1] - 500.5) - 300).max() < 2


@given(st.lists(st.integers(0, 255), min_size=1, max_size=50))
def test_shares_of_normal_pixels_are_those_of_scipy(values: list[int]) -> None:
    shares = scale.shares_below(np.array(values, np.uint8))
    expected = [percentileofscore(values, level, kind="mean") / 100 for level in range(256)]
    assert shares == pytest.approx(expected)
    levels = scale.colour_levels(np.array(values, np.uint8))
    assert (np.diff(levels.astype(int)) >= 0).all()
    assert levels[int(np.median(values))] == 0 or len(set(values)) > 1
    assert (levels[max(values) + 1 :] == 255).all()


def test_colours_begin_at_the_median_and_end_at_a_high_percentile() -> None:
    assert scale.position([0, 0.3, 0.5]).tolist() == [0, 0, 0]
    assert scale.position([0.999, 1]).tolist() == pytest.approx([1, 1])
    decades = scale.position([0.9, 0.99, 0.999])
    assert decades[1] - decades[0] == pytest.approx(decades[2] - decades[1]), "equal steps for a tenth of the pixels"
    assert [text for text, _ in scale.ticks()] == ["50", "90", "99", "99.9"]
    assert [place for _, place in scale.ticks()][:: len(scale.TICKS) - 1] == [0, 1]
    values = np.random.default_rng(0).normal(100, 20, 100_000).clip(0, 255).round().astype(np.uint8)
    levels = scale.colour_levels(values)
    assert levels[int(np.percentile(values, 45))] == 0
    assert levels[int(np.percentile(values, 99.95)) + 1] == 255
    assert levels[int(np.percentile(values, 90))] == pytest.approx(255 * decades[0], abs=4)


def test_an_outlier_changes_no_other_colour() -> None:
    """The range of the maps grows by it, so all other values are smaller, and still told apart."""
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 100, (12, 8, 8)).astype(np.uint8)
    labels = np.array([0] * 6 + [1] * 6, np.uint8)
    wide = plain.copy()
    wide[11, 0, 0] = 255
    found = [scale.colour_levels(scale.normal_values(_images(maps, labels), {}, NORMAL)) for maps in (plain, wide)]
    assert (found[0] == found[1]).all()
    assert len(set(found[0][:100].tolist())) > 30


NORMAL = scale.Reference.NORMAL_IMAGES


def _images(maps: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> ClassImages:
    return ClassImages(tuple(map(str, range(len(maps)))), labels, np.linspace(0, 1, len(maps)), maps, (0, 1))


def test_without_normal_images_the_pixels_outside_the_masks_are_normal() -> None:
    maps = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    images = _images(maps, np.ones(2, np.uint8))
    mask = np.zeros((40, 40), bool)
    mask[:19, :] = True  # the rest of the second row of cells is not normal either
    assert scale.reference_of([images], {"1": mask}) is scale.Reference.OUTSIDE_MASKS
    values = scale.normal_values(images, {"1": mask, "not kept": mask}, scale.Reference.OUTSIDE_MASKS)
    assert sorted(values.tolist()) == list(range(24, 32))
    assert scale.reference_of([images], {}) is scale.Reference.ALL
    assert scale.reference_of([images], {"1": np.ones((40, 40), bool)}) is scale.Reference.ALL
    assert len(scale.normal_values(images, {}, scale.Reference.ALL)) == 32
    mixed = _images(maps, np.array([1, 0], np.uint8))
    assert scale.reference_of([mixed], {}) is NORMAL
    assert scale.normal_values(mixed, {"0": mask}, NORMAL).tolist() == list(range(16, 32))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=25))
def test_ranking_errors_are_those_counted_over_all_pairs(images: list[tuple[int, int]]) -> None:
    scores = np.array([score / 7 for score, _ in images])
    labels = np.array([label for _, label in images], np.uint8)
    ahead = np.where(labels[:, None] == 1, 1, -1) * (scores[:, None] - scores)
    right = (ahead > 0) + 0.5 * (ahead == 0)
    other = labels[:, None] != labels
    fractions = [r[o].sum() / o.sum() if o.any() else np.nan for r, o in zip(right, other, strict=True)]
    below = (scores < scores[:, None]).mean(axis=1) + (scores == scores[:, None]).mean(axis=1) / 2
    side = np.where(labels == 1, 1 - below, below)
    wrong = [s if np.isnan(f) else 1 - f for s, f in zip(side, fractions, strict=True)]
    assert np.array_equal(gallery.fractions_right(scores, labels), fractions, equal_nan=True)
    assert np.array_equal(gallery.ranking_errors(scores, labels), wrong + 1e-3 * side)


def test_ranking_errors_of_many_images_need_little_memory() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random(3000), rng.integers(0, 2, 3000).astype(np.uint8)
    tracemalloc.start()
    gallery.ranking_errors(scores, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * scores.nbytes, "all pairs would take 3000 times the memory of the scores"


def test_a_bounded_number_of_images_is_shown_besides_those_that_are_linked() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 500, np.uint8)
    wrong = np.stack([gallery.ranking_errors(rng.random(1000), labels) for _ in range(40)])
    shown = select_images(wrong, labels)
    assert len(shown) == gallery.MOST
    mean = wrong.mean(axis=0)
    for of_label in (np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)):
        assert {*of_label[np.argsort(-mean[of_label])][: gallery.WORST]} <= {*shown}
    further = [index for index in range(1000) if index not in shown][:3]
    assert {*select_images(wrong, labels, also=further)} == {*shown, *further}
    assert (np.diff(mean[select_images(wrong, labels, also=further)]) <= 0).all()


def test_linked_images_are_in_the_gallery(study: Study) -> None:
    samples = study.found[0]
    keys = tuple(sample.key for sample in samples.test if sample.class_name == "a")
    labels = np.array([0] * 5 + [1] * 5, np.uint8)
    images = {"A": _images(np.zeros((10, 4, 4), np.uint8), labels)}
    images = {"A": replace(images["A"], keys=keys)}
    plain = class_gallery(images, samples, Protocol(), stem="x")
    left = next(key for key in keys if key not in {image.key for image in plain.shown})
    linked = class_gallery(images, samples, Protocol(), stem="x", also=(left, "of another class"))
    assert {image.key for image in linked.shown} == {image.key for image in plain.shown} | {left}


def test_the_gallery_says_where_a_method_ranks_an_image(study: Study) -> None:
    samples = study.found[1]
    keys = tuple(sample.key for sample in samples.test)
    labels = np.array([sample.label for sample in samples.test], np.uint8)
    scores = np.linspace(0, 1, len(keys))
    scores[5] = -1  # the first anomalous image is below all normal ones
    maps = np.zeros((len(keys), 80, 60), np.uint8)
    found = class_gallery({"A": ClassImages(keys, labels, scores, maps, (0, 1))}, samples, Protocol(), stem="x")
    worst = found.shown[0]
    assert (worst.key, worst.label) == (keys[5], 1)
    assert (worst.results[0].right, found.normal, worst.results[0].rank) == (0, 5, 10)
    assert max(found.methods[0].width, found.methods[0].height) == gallery.MAP_SIZE
    assert worst.contour is None
    assert set(found.photos) == {image.photo for image in found.shown}


def test_photos_are_reduced_and_never_enlarged(study: Study, tmp_path: Path) -> None:
    samples = study.found[1]
    Image.new("RGB", (1000, 400)).save(tmp_path / "large.png")
    Image.new("RGB", (300, 200)).save(tmp_path / "middle.png")
    paths = {samples.test[0].key: tmp_path / "large.png", samples.test[1].key: tmp_path / "middle.png"}
    changed = tuple(replace(each, path=paths.get(each.key, each.path)) for each in samples.samples)
    keys = tuple(sample.key for sample in samples.test)
    images = replace(_images(np.zeros((10, 4, 4), np.uint8), np.array([0] * 5 + [1] * 5, np.uint8)), keys=keys)
    found = class_gallery({"A": images}, replace(samples, samples=changed), Protocol(), stem="x", also=keys)
    (tmp_path / "shown").mkdir()
    for name, content in found.photos.items():
        (tmp_path / "shown" / name).write_bytes(content)
    sizes = {
        image.key: [Image.open(tmp_path / "shown" / name).size for name in (image.photo, image.large)]
        for image in found.shown
    }
    assert sizes[keys[0]] == [(photos.THUMBNAIL_SIZE, 70), (photos.PHOTO_SIZE, 205)]
    assert sizes[keys[1]] == [(photos.THUMBNAIL_SIZE, 117), (300, 200)]
    assert sizes[keys[2]] == [(32, 24)] * 2
    assert len(found.photos) == len(keys) + 2


class Page(HTMLParser):
    """The list of a gallery's page as it is without scripts, and its data."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tag = ""
        self.data = ""
        self.photos: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tag = "data" if named.get("id") == "gallery-data" else tag
        if tag == "img":
            self.photos.append(str(named["src"]))
        self.links.append(str(named.get("rel")))

    def handle_data(self, data: str) -> None:
        if self.tag == "data":
            self.data += data
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self.tag = ""


def test_the_data_hold_every_method_and_map(study: Study, site_files: Mapping[str, bytes]) -> None:
    page = Page(site_files["datasets/parts--a.html"].decode())
    data: dict[str, Any] = json.loads(page.data)
    assert [each["title"] for each in data["methods"]] == ["CLIP", "CLIP-AC", "GenCLIP"]
    assert (data["normal"], data["anomalous"]) == (5, 5)
    record = next(each for each in study.records if each.title == "CLIP-AC" and each.dataset_title.startswith("Parts"))
    images = (study.read(record) or {})["a"]
    for image in data["images"]:
        place = images.keys.index(image["key"])
        maps = np.frombuffer(base64.b64decode(image["maps"]), np.uint8).reshape(3, 4, 4)
        assert (maps[1] == images.maps[place]).all()
        assert image["score"][1] == f"{images.scores[place]:.3g}"
        assert image["rank"][1] == 1 + (images.scores > images.scores[place]).sum()
        assert (image["contour"] is None) == (image["label"] == 0)
        assert len(image["places"]) == 4
    errors = dict(zip(images.keys, gallery.ranking_errors(images.scores, images.labels), strict=True))
    ordered = [errors[image["key"]] for image in sorted(data["images"], key=lambda each: each["places"][2])]
    assert ordered == sorted(ordered)
    method = data["methods"][1]
    kept = np.frombuffer(base64.b64decode(method["levels"]), np.uint8)
    levels = np.full(256, 255)
    levels[: method["first"]] = 0
    levels[method["first"] : method["first"] + len(kept)] = kept
    assert (levels == scale.colour_levels(images.maps[:5].ravel())).all()
    mask = np.zeros((24, 32), bool)
    mask[6:13, 8:17] = True
    assert data["images"][0]["contour"] or data["images"][1]["contour"]
    assert {each["contour"] for each in data["images"] if each["label"]} == {svg_path(contours(mask), (32, 24))}


def test_without_scripts_the_photos_are_a_list(site_files: Mapping[str, bytes]) -> None:
    page = Page(site_files["datasets/parts--a.html"].decode())
    data = json.loads(page.data)
    assert [path.rpartition("/")[2] for path in page.photos] == [each["photo"] for each in data["images"]]
    for path in page.photos:
        assert path.removeprefix("../") in site_files
    assert all(each["key"] in page.text for each in data["images"])
    assert KIND in page.text
    assert "scripts are switched off" in page.text
    assert page.links.count("prev") == 2, "above the table and below the gallery"


def test_hostile_names_stay_text(site_files: Mapping[str, bytes]) -> None:
    pages = [Page(text.decode()) for path, text in site_files.items() if path.startswith("datasets/parts--")]
    (page,) = (each for each in pages if json.loads(each.data)["images"][0]["key"].startswith(SCRIPT))
    assert all(each["key"] in page.text for each in json.loads(page.data)["images"])
    assert all("<script>alert" not in text.decode() for path, text in site_files.items() if path.endswith(".html"))


def _shown(found: Gallery) -> str:
    template = SiteFiles({}).templates.get_template("parts/gallery.html")
    dataset = SimpleNamespace(slug="x")
    return template.render(
        gallery=found, total=9, gallery_note="nothing", colours="", ticks=scale.ticks(), dataset=dataset
    )


def test_a_gallery_offers_only_labels_that_occur(study: Study) -> None:
    samples = study.found[0]
    keys = tuple(sample.key for sample in samples.test if sample.class_name == "a" and sample.label)
    images = replace(_images(np.zeros((5, 4, 4), np.uint8), np.ones(5, np.uint8)), keys=keys)
    text = _shown(class_gallery({"A": images}, samples, Protocol(), stem="x"))
    assert 'name="label"' not in text
    assert "There is no normal image among them." in text
    assert "The class has no normal images: the normal pixels are those outside the ground truth" in text
    no_masks = study.found[1]
    keys = tuple(sample.key for sample in no_masks.test)
    images = replace(_images(np.zeros((10, 4, 4), np.uint8), np.array([0] * 5 + [1] * 5, np.uint8)), keys=keys)
    text = _shown(class_gallery({"A": images}, no_masks, Protocol(), stem="x"))
    assert text.count('name="label"') == 3
    assert 'name="contour"' not in text
    assert "those of the 5 normal images of the class" in text
    assert _shown(Gallery()).count("<form") == 0
