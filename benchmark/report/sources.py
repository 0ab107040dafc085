"""Results per image, which of the datasets that were found hold the images, and what to say where one is lacking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.common import listed
from benchmark.data import SampleSet
from benchmark.metrics import ClassImages, PerImageError, read_per_image
from benchmark.records import Record, per_image_path
from benchmark.report.report_data import DatasetResults, ReadPerImage

PerImage = Mapping[str, Mapping[str, ClassImages]]
"""Results per image, by method and class."""

SAME_FOLDER = "give the same --folder as to the run, with the options that say how it is read, such as --masks"


def has_per_image(results: Path, record: Record) -> bool:
    """Say whether there are results per image beside a record."""
    return record.images_sha256 is not None and per_image_path(results, record.id).exists()


def per_image_reader(results: Path, say: Callable[[str], None]) -> ReadPerImage:
    """Return what reads the results per image beside a record, None without any; it says where they are damaged."""

    def read(record: Record) -> Mapping[str, ClassImages] | None:
        if record.images_sha256 is None or not has_per_image(results, record):
            return None
        try:
            return read_per_image(per_image_path(results, record.id), record.images_sha256)
        except PerImageError as error:
            say(f"no maps: {error}")
            return None

    return read


def no_per_image(results: Path, records: Sequence[Record]) -> list[str]:
    """Return a line that says how many records that are done have no results per image, if any."""
    done = [record for record in records if record.status == "done"]
    count = sum(not has_per_image(results, record) for record in done)
    if not count:
        return []
    of = f"{count} of {len(done)} results" if count < len(done) else f"all {len(done)} results"
    return [
        f"{results / 'records'}: {of} have no results per image, so there are no galleries, maps and text features of "
        "them; `bench run --force` makes them, and numbers need none"
    ]


def source_of(dataset: DatasetResults, images: PerImage, found: Sequence[SampleSet]) -> SampleSet | None:
    """Return the images that results were made from, as test samples; None where they were not found.

    The fingerprint decides. So a plain folder may have another name than in the run. Of a dataset of which the run
    tested a part, that part is returned. What classes are called in prompts is taken from the records.

    Args:
        dataset: The results.
        images: Their results per image.
        found: Datasets that may hold the images.
    """
    classes = [of_class for by_class in images.values() for of_class in by_class.values()]
    keys = {key for of_class in classes for key in of_class.keys}
    keys |= {each.key for record in dataset.records for result in record.classes.values() for each in result.skipped}
    prompts = dataset.records[0].prompts
    for samples in candidates(dataset, found):
        tested = tuple(
            replace(sample, split="test", prompt_name=prompts.get(sample.class_name, sample.prompt_name))
            for sample in samples.samples
            if sample.key in keys
        )
        chosen = samples if tested == samples.samples else replace(samples, samples=tested)
        if tested and chosen.fingerprint == dataset.fingerprint:
            return chosen
    return None


def candidates(dataset: DatasetResults, found: Sequence[SampleSet]) -> list[SampleSet]:
    """Return the datasets that may hold the images of results; of a plain folder any plain folder may, by any name."""
    if dataset.is_plain:
        plain = [samples for samples in found if samples.card.domain == "custom"]
        return sorted(plain, key=lambda samples: samples.title != dataset.title)
    return [samples for samples in found if samples.card.name == dataset.card_name]


def no_images(dataset: DatasetResults, found: Sequence[SampleSet], *, maps: bool) -> str:
    """Return why a dataset has no gallery, and how to get one.

    Args:
        dataset: The dataset.
        found: Datasets that were found, none of which holds the images.
        maps: Whether there are results per image.
    """
    if not maps:
        return (
            "There are no results per image stored with these records; `bench run --force` stores them for the gallery."
        )
    others = candidates(dataset, found)
    if not others and not dataset.is_plain and dataset.card is None:
        return f"{dataset.title} has no dataset card that ships with the benchmark, so its images are not searched for."
    if not others:
        return f"The images of {dataset.title} were not found; {way_to_images([dataset])}."
    names = listed([samples.directory.name for samples in others], 3)
    way = f"`--data-path {dataset.card_name}=DIR` names another folder"
    if dataset.is_plain:
        way = SAME_FOLDER
    return f"The images in {names} are not those that the records of {dataset.title} were made from; {way}."


def way_to_images(datasets: Sequence[DatasetResults]) -> str:
    """Return by which options of `bench report` the images of some datasets are found."""
    ways = []
    if any(not dataset.is_plain for dataset in datasets):
        ways.append("name the folder of the datasets with `bench report --data DIR`")
    if any(dataset.is_plain for dataset in datasets):
        ways.append("name a folder of your own images with `bench report --folder DIR`")
    return ", and ".join(ways)


def unused_folders(found: Sequence[SampleSet], used: Sequence[SampleSet]) -> list[str]:
    """Return a line for each plain folder that holds the images of no results.

    Args:
        found: Datasets that were found.
        used: Those that hold the images of results, or may hold them.
    """
    known = {samples.directory for samples in used}
    return [
        f"{samples.directory}: no result was made from these images; {SAME_FOLDER}"
        for samples in found
        if samples.card.domain == "custom" and samples.directory not in known
    ]
