"""A method that scores images of one's own, in Python."""

import base64
import html
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.api.requests import results_folder
from benchmark.api.scorers import Found, Scoring, find_scorers
from benchmark.api.typed import register_typed
from benchmark.clip import MINI_BACKBONE, check_class_name
from benchmark.common import ANY_CLASS, BATCH_SIZE, Dtype, as_path, image_progress, tell
from benchmark.contract import Method
from benchmark.data import ImageError, ImageInMemory, Ranges, image_in_memory, orientation_of, read_any, turn
from benchmark.errors import BenchError
from benchmark.predict import (
    LARGEST_SIDE,
    Scored,
    banner,
    images_below,
    note_on_references,
    overlay,
    reduced,
    score_images,
)

if TYPE_CHECKING:
    from benchmark.predict import Scorer, Unscored

MOST_SHOWN = 20
"""Images that a notebook shows of one call."""
SHOWN_SIDE = 256
"""Longer side of a photo in a notebook, in pixels."""

Given = str | Path | Image.Image | npt.NDArray[Any]
"""A path, an image of Pillow, or an array as `benchmark.data.in_memory.image_in_memory` takes it."""


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """Score and anomaly map of an image. A notebook shows the photo beside its heatmap."""

    name: str
    """Path of the file, or the place in the call of an image in memory."""
    score: float
    """A higher score is more anomalous. Scores compare between images of one class, method and backbone alone."""
    map: npt.NDArray[np.float32]
    """Anomaly map of shape `(S, S)`, at the image size of the method or the evaluation size of the protocol. Its
    corners are those of the upright photo."""
    method: str
    """Title of the method."""
    class_name: str
    low: float
    """Lowest value of all maps of the call: where the heatmap leaves the photo unchanged."""
    high: float
    """Highest value of all maps of the call: where the heatmap is yellow, also if nothing is wrong."""
    synthetic: str
    """The warning about generated weights; empty where all are real."""
    source: Path | ImageInMemory
    ranges: Ranges

    @property
    def image(self) -> Image.Image:
        """The upright photo in RGB. A file is read again."""
        stored = np.asarray(read_any(self.source, self.ranges))
        return Image.fromarray(np.ascontiguousarray(turn(stored, orientation_of(self.source))))

    @property
    def heatmap(self) -> Image.Image:
        """The photo with the anomaly map drawn over it, as `bench predict` draws it."""
        return overlay(reduced(self.image, LARGEST_SIDE), self.map, low=self.low, high=self.high)

    def __repr__(self) -> str:
        warned = f"; {self.synthetic}" if self.synthetic else ""
        return f"<{self.name}: score {self.score:.6g} by {self.method} as {self.class_name!r}{warned}>"

    def _repr_html_(self) -> str:
        return f"{_warning(self.synthetic)}{self._figure()}"

    def _figure(self) -> str:
        try:
            photo = reduced(self.image, SHOWN_SIDE)
        except ImageError as error:  # the file was moved since
            return f"<p>{html.escape(f'{self.name}: {self.score:.4g}; {error}')}</p>"
        pictures = {"photo": photo, "heatmap": overlay(photo, self.map, low=self.low, high=self.high)}
        tags = "".join(f'<img alt="{what}" src="{_data_url(picture)}">' for what, picture in pictures.items())
        caption = html.escape(f"{self.name}: {self.score:.4g} ({self.method}, {self.class_name})")
        return f'<figure style="display:inline-block;margin:4px">{tags}<figcaption>{caption}</figcaption></figure>'


@dataclass(frozen=True, eq=False)
class UnscoredImage:
    """An image of several that could not be scored."""

    name: str
    error: str
    """Why."""

    def _figure(self) -> str:
        return f"<p>{html.escape(self.error)}</p>"


@dataclass(frozen=True, eq=False)
class PredictedImages(Sequence[PredictedImage | UnscoredImage]):
    """What a method says of several images, in their order. A notebook shows the first of them with their heatmaps."""

    images: tuple[PredictedImage | UnscoredImage, ...]

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """The scores (N,); NaN for an image that could not be scored."""
        return np.array([each.score if isinstance(each, PredictedImage) else np.nan for each in self.images])

    @property
    def failed(self) -> tuple[UnscoredImage, ...]:
        """The images that could not be scored."""
        return tuple(each for each in self.images if isinstance(each, UnscoredImage))

    @overload
    def __getitem__(self, index: int) -> PredictedImage | UnscoredImage: ...
    @overload
    def __getitem__(self, index: slice) -> "PredictedImages": ...
    def __getitem__(self, index: int | slice) -> "PredictedImage | UnscoredImage | PredictedImages":
        return PredictedImages(self.images[index]) if isinstance(index, slice) else self.images[index]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[PredictedImage | UnscoredImage]:
        return iter(self.images)

    def _repr_html_(self) -> str:
        warnings = dict.fromkeys(each.synthetic for each in self.images if isinstance(each, PredictedImage))
        shown = [each._figure() for each in self.images[:MOST_SHOWN]]
        more = len(self.images) - len(shown)
        return "\n".join([*map(_warning, warnings), *shown, f"<p>and {more} more</p>" if more else ""])


@dataclass(frozen=True, eq=False)
class Predictor:
    """A method that is ready to score images: `load_method` gives it."""

    _found: Found
    class_name: str

    @property
    def title(self) -> str:
        """The method's name with the options that are not at their defaults."""
        return self._scorer.id.title

    def predict(
        self, images: "Given | Iterable[Given]", class_name: str | None = None, *, batch_size: int = BATCH_SIZE
    ) -> "PredictedImage | PredictedImages":
        """Return score and anomaly map of an image, or of several, the same as `bench predict` gives.

        Args:
            images: One image, several, or the path of a folder that is searched for images. An image is a path, an
                image of Pillow, or an array: (H, W) or (H, W, 3), in RGB, of uint8, or of other integers or floats. Of
                more than 8 bits, black and white are found as of files, by one range for all images of the call. An
                array (N, H, W, 3) is N images. In a path `~` is the home folder.
            class_name: What the images show, in plain English; None for that of `load_method`.
            batch_size: Images per forward pass. It changes no number.

        Returns:
            A `PredictedImage` for one image, else `PredictedImages`. Maps are of the upright photo, as people see it.

        Raises:
            BenchError: There are no images, the only one cannot be read, or the memory does not suffice. Of several
                images, those that cannot be read are told and become an `UnscoredImage`.
        """
        shown = self.class_name if class_name is None else class_name
        check_class_name(shown, where="class_name")
        if not isinstance(batch_size, Integral) or isinstance(batch_size, bool) or batch_size < 1:
            raise BenchError(f"batch_size={batch_size!r}: say a whole number from 1 on")
        given, alone = _images(images, follow_links=self._found.scoring.follow_links)
        found = self._found.looking_at(given, shown)
        (scorer,) = found.scorers
        if note := note_on_references([each for each in given if isinstance(each, Path)], found.scorers):
            tell(f"note: {note}")
        outcomes = self._scored(given, scorer, batch_size)
        if alone and not isinstance(outcomes[0], Scored):
            raise ImageError(outcomes[0].error)
        made = _made(outcomes, scorer)
        return cast(PredictedImage, made[0]) if alone else PredictedImages(made)

    def _scored(
        self, given: "Sequence[Path | ImageInMemory]", scorer: "Scorer", batch_size: int
    ) -> "list[Scored | Unscored]":
        """Return what became of each image, and show the progress."""
        method = self._built(scorer)
        with image_progress("scoring", len(given)) as progress:
            outcomes = []
            for (outcome,) in score_images(
                given,
                [method],
                self._backbone,
                class_name=scorer.id.class_name,
                batch_size=batch_size,
                evaluation_size=scorer.id.protocol.evaluation_size,
                ranges=scorer.id.ranges,
            ):
                outcomes.append(outcome)
                progress(1)
        return outcomes

    def __repr__(self) -> str:
        warned = banner(self._scorer.id.synthetic)
        return f"<Predictor of {self._scorer.told}, backbone {self._found.source.name}{'; ' * bool(warned)}{warned}>"

    @property
    def _scorer(self) -> "Scorer":
        return self._found.scorers[0]

    @cached_property
    def _backbone(self) -> Any:
        return self._found.load()

    def _built(self, scorer: "Scorer") -> Method:
        """Return the method, which is made once, but for one whose reference images are read by another range."""
        ranges = scorer.id.ranges if scorer.references else Ranges()
        if ranges not in self._methods:
            self._methods.clear()
            self._methods[ranges] = scorer.build(self._backbone)
        return self._methods[ranges]

    @cached_property
    def _methods(self) -> dict[Ranges, Method]:
        return {}


def load_method(
    method: str | type[Method],
    class_name: str = ANY_CLASS,
    *,
    backbone: str = MINI_BACKBONE,
    checkpoint: str | Path | None = None,
    shots: str | Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "",
    dtype: Dtype = "auto",
    results: str | Path | None = None,
    follow_links: bool = False,
) -> Predictor:
    """Return a method that scores images of one's own, as `bench predict` does.

    Each keyword means what the option of `bench predict` of the same name does, and messages name these options. The
    default backbone is part of the package and was trained on generated images, for a first try.

    Args:
        method: Name of a method, or a class.
        class_name: What images show of which `predict` is told nothing else.
        backbone: CLIP and its weights, such as `ViT-L-14-336-quickgelu:openai`.
        checkpoint: JSON file of a checkpoint of a method that learns; None for one in `results` that fits, else the
            package's own for the default backbone.
        shots: Folder of normal images that a k-shot method is shown.
        options: Values of options by their names, of the method by its name, as in `{"winclip": {"shots": 4}}`, and of
            the `protocol`.
        device: Where CLIP computes; empty for the best that is there.
        dtype: Number type in which CLIP computes.
        results: Folder of results, in which checkpoints are looked for; None for `BENCH_RESULTS`, else `results/local`.
        follow_links: Whether links that lead out of a folder of images, or of reference images, are followed.

    Raises:
        BenchError: A name or a value is wrong, or the method cannot score single images, or lacks a checkpoint or
            reference images.
    """
    [name] = register_typed([method])
    check_class_name(class_name, where="class_name")
    scoring = Scoring(
        backbone=backbone,
        checkpoints=[as_path(checkpoint, "checkpoint")] if checkpoint is not None else (),
        shots=as_path(shots, "shots") if shots is not None else None,
        device=device,
        dtype=dtype,
        results=results_folder(results),
        follow_links=follow_links,
    )
    predictor = Predictor(find_scorers([name], options or {}, scoring), class_name)
    if warned := banner(predictor._scorer.id.synthetic):
        tell(warned)
    return predictor


def _made(outcomes: "Sequence[Scored | Unscored]", scorer: "Scorer") -> tuple[PredictedImage | UnscoredImage, ...]:
    """Return what a user gets of images, and tell which could not be scored."""
    scored = [each for each in outcomes if isinstance(each, Scored)]
    low = min((float(each.map.min()) for each in scored), default=0.0)
    high = max((float(each.map.max()) for each in scored), default=0.0)
    for each in outcomes:
        if not isinstance(each, Scored):
            tell(f"FAILED {each.error}")
    return tuple(
        PredictedImage(
            name=str(each.image),
            score=each.score,
            map=each.map,
            method=scorer.id.title,
            class_name=scorer.id.class_name,
            low=low,
            high=high,
            synthetic=banner(scorer.id.synthetic),
            source=each.image.absolute() if isinstance(each.image, Path) else each.image,
            ranges=scorer.id.ranges,
        )
        if isinstance(each, Scored)
        else UnscoredImage(str(each.image), each.error)
        for each in outcomes
    )


def _images(given: "Given | Iterable[Given]", *, follow_links: bool) -> tuple[list[Path | ImageInMemory], bool]:
    """Return images as they are read, and whether a single one was given.

    Raises:
        BenchError: There are none, or one is no image.
    """
    way = "give a path, an image, an array, or several of them"
    if isinstance(given, str | Path) and (folder := as_path(given, "images")).is_dir():
        below, problems, notes = images_below(folder, follow_links=follow_links)
        for line in [*problems, *notes]:
            tell(f"note: not scored: {line}")
        found: list[Path | ImageInMemory] = list(below.values())
        alone = False
    else:
        if hasattr(given, "__array__") and not isinstance(given, Image.Image):  # a tensor is an array too
            given = np.asarray(given)
        alone = isinstance(given, str | Path | Image.Image) or (isinstance(given, np.ndarray) and given.ndim < 4)
        if not alone and (isinstance(given, Mapping | bytes) or not isinstance(given, Iterable)):
            raise BenchError(f"{type(given).__name__} is no image; {way}")
        several = cast("Iterable[Given]", [given] if alone else given)
        found = [
            as_path(each, "images") if isinstance(each, str | Path) else image_in_memory(each, f"image {index}")
            for index, each in enumerate(several)
        ]
    if not found:
        raise BenchError(f"there are no images to score; {way}")
    return found, alone


def _warning(text: str) -> str:
    return f"<p><strong>{html.escape(text)}</strong></p>" if text else ""


def _data_url(picture: Image.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
