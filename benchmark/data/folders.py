"""Plain folders: a user's own images, without a card, read by the names of their folders."""

from dataclasses import dataclass
from pathlib import Path

from benchmark.common import slug
from benchmark.data.cards import load_cards
from benchmark.data.samples import DatasetError, SampleSet, read_samples

PLAIN = "folder-"
"""Start of the names of plain folders in ids and file names; no card's name has a hyphen."""


@dataclass(frozen=True, kw_only=True)
class PlainFolder:
    """A folder of a user's own images, and what its names mean where that is not plain."""

    directory: Path
    name: str = ""
    """Name in tables; by default that of the directory."""
    class_name: str = "object"
    """What the images show, in prompts, where the folder holds one class."""
    normal: tuple[str, ...] = ()
    """Folders of normal images, where their names are none of the usual."""
    abnormal: tuple[str, ...] = ()
    """Folders of anomalous images, where their names are none of the usual."""
    masks: str = ""
    """Folder of the masks, where its name is none of the usual; `none` leaves masks out."""
    mask_suffix: str = ""
    """What follows an image's name in that of its mask, as in `_mask`, where it is nothing usual."""
    follow_links: bool = False
    """Whether links that lead out of the folder are followed."""

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name or self.directory.resolve().name or "folder"


def read_folder(folder: PlainFolder) -> SampleSet:
    """Read a plain folder of normal and anomalous images.

    Raises:
        DatasetError: There is no such folder, or it has no such images.
    """
    directory = folder.directory
    if not directory.is_dir():
        raise DatasetError(f"--folder {directory}: is not a folder")
    if not folder.class_name.strip():
        raise DatasetError('--folder-class: say what the images show, as in --folder-class "metal nut"')
    card = load_cards()["folder"]
    named = card.classes[0].model_copy(update={"prompt": folder.class_name})
    name = PLAIN + slug(folder.title)
    layouts = tuple(each.model_copy(update={"mask_threshold": None}) for each in card.layouts)  # by what each mask is
    card = card.model_copy(update={"classes": (named,), "title": folder.title, "name": name, "layouts": layouts})
    try:
        return read_samples(card, directory)
    except DatasetError as error:
        raise DatasetError(
            f"--folder {directory}: no images were found; put normal ones into a folder normal below it, and anomalous "
            f"ones into a folder abnormal. {card.notes}"
        ) from error
