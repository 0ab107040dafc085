"""Plain folders: a user's own images, without a card, read by the names of their folders."""

import posixpath
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.common import ANY_CLASS, as_path, is_blank, listed, printable, slug
from benchmark.data.cards import PLAIN, Card, ClassCard, Layout, Level
from benchmark.data.formats import is_image, kind_of
from benchmark.data.images import ImageError
from benchmark.data.layouts import Sample
from benchmark.data.leftovers import grouped, unread
from benchmark.data.masks import MaskRule, read_mask
from benchmark.data.meta import META
from benchmark.data.plain.arranged import Arrangement, Found, Owner, UnclearError
from benchmark.data.plain.arrangement import arrange
from benchmark.data.plain.content import masks_among
from benchmark.data.plain.meta_list import by_meta
from benchmark.data.plain.pairing import beside
from benchmark.data.plain.places import DRAWINGS, NONE, TOP, Meaning, match
from benchmark.data.samples import DatasetError, SampleSet, count
from benchmark.data.tree import Leftover, Problem, Tree, inside, plain, relative, walk

_LAYOUT = Layout(name="plain", mask_threshold=None)
_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class PlainFolder:
    """A folder of a user's own images, and what its names mean where that is not plain.

    Raises:
        BenchError: The directory is no path.
    """

    directory: Path
    """A text does too; `~` is the home folder."""
    name: str = ""
    """Name in tables; by default that of the directory."""
    class_name: str = ANY_CLASS
    """What the images show, in prompts, where the folder holds one class."""
    normal: tuple[str, ...] = ()
    """Folders of normal images, where their names are none of the usual."""
    abnormal: tuple[str, ...] = ()
    """Folders of anomalous images, where their names are none of the usual."""
    masks: tuple[str, ...] = ()
    """Folders of masks, where their names are none of the usual; `none` alone leaves masks out."""
    mask_suffix: str = ""
    """What follows an image's name in that of its mask, as in `_mask`, where it is nothing usual."""
    follow_links: bool = False
    """Whether links that lead out of the folder are followed."""
    one_of_several: bool = False
    """Whether the names are those of several directories, each of which has only some of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", as_path(self.directory, "the directory of PlainFolder"))
        for name in ("normal", "abnormal", "masks"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.name or self.directory.resolve().name or "folder"

    @property
    def options(self) -> str:
        """The options of the command line that stand for it."""
        values = [("folder", f"{self.name}={self.directory}" if self.name else str(self.directory))]
        values += [("folder-class", self.class_name)] if self.class_name != ANY_CLASS else []
        values += [("normal", each) for each in self.normal] + [("abnormal", each) for each in self.abnormal]
        values += [("masks", each) for each in self.masks]
        values += [("mask-suffix", self.mask_suffix)] if self.mask_suffix else []
        said = [f"--{name} {shlex.quote(value)}" for name, value in values]
        return " ".join([*said, *(["--follow-links"] if self.follow_links else [])])


def read_folder(folder: PlainFolder) -> SampleSet:
    """Read a plain folder of normal and anomalous images.

    Raises:
        DatasetError: There is no such folder, or its names do not say what is normal, anomalous or a mask. The message
            says what to type.
    """
    directory = folder.directory
    if not directory.is_dir():
        raise DatasetError(f"--folder {directory}: is not a folder")
    if is_blank(folder.class_name):
        raise DatasetError('--folder-class: say what the images show, as in --folder-class "metal nut"')
    tree = walk(directory, follow_links=folder.follow_links)
    try:
        folder, lacking = _with_its_names(folder, tree)
        meaning = _meaning(folder, tree)
        found = _arrange(folder, tree, meaning)
        owners = _owners(folder, found)
    except UnclearError as error:
        raise DatasetError(_refusal(folder, tree, str(error))) from error
    problems = [*tree.problems, *lacking, *found.problems]
    if not found.listed:
        problems += masks_among(found.images, meaning, tree.files)
    unlisted = {file: path for file, path in tree.files.items() if file != found.listed}
    made = (_sample(tree, each, owners[each.owner], problems) for each in found.images)
    samples = [each for each in made if each is not None]
    order = {each.name: n for n, each in enumerate(owners.values())}
    samples.sort(key=lambda s: (order[s.class_name], s.key))
    return SampleSet(
        card=_card(folder, tuple(owners.values()), samples),
        directory=directory,
        layout=_LAYOUT,
        reason=found.taken,
        samples=tuple(samples),
        problems=(*problems, *_one_sided(samples)),
        left_out=(*found.left_out, *unread(replace(tree, files=unlisted))),
        options=folder.options,
        normal_masks=tuple(
            (each.file, tree.files[each.mask]) for each in found.images if each.mask and each.label == 0
        ),
    )


def _arrange(folder: PlainFolder, tree: Tree, meaning: Meaning) -> Arrangement:
    """Return how the files are understood by their names, or else by the meta.json at the top.

    Raises:
        UnclearError: Neither says it.
    """
    told = folder.normal or folder.abnormal or folder.masks or folder.mask_suffix
    try:
        found = arrange(list(tree.files), meaning, mask_suffix=folder.mask_suffix)
    except UnclearError:
        if told or (by_list := by_meta(tree)) is None:
            raise
        return by_list
    if tree.find(META) is None:
        return found
    if not told and all(each.label is None for each in found.images):  # by masks alone, which normal images may lack
        try:
            return by_meta(tree) or found
        except UnclearError as error:
            found.report(META, "meta.json", f"not used: {error}", fatal=False)
    else:
        found.taken += f"; its {META} is not trusted: labels and masks come from the files"
    return found


def _with_its_names(folder: PlainFolder, tree: Tree) -> tuple[PlainFolder, list[Problem]]:
    """Return the folder with those names given by the user that it has, and problems for the others.

    Raises:
        UnclearError: It lacks a name, and there is no other folder whose name that may be, or it lacks all.
    """
    folders = sorted(_folders(tree))
    said = {"normal": folder.normal, "abnormal": folder.abnormal, "masks": folder.masks}
    if _no_masks(folder):
        del said["masks"]
    kept: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for option, names in said.items():
        kept[option] = tuple(name for name in names if _called(name, folder.directory, folders))
        for name in names:
            if name in kept[option]:
                continue
            tops = sorted({each.split("/")[0] for each in folders})
            there = f"there are {listed([f'{each}/' for each in tops], _SHOWN)}" if tops else "there are none"
            why = f"--{option} {shlex.quote(name)}: no folder below it has that name; {there}"
            if not (folder.one_of_several and kept[option]):
                raise UnclearError(why)
            problems.append(Problem(".", "no-such-folder", why, fatal=False))
    masks = kept.get("masks", folder.masks)
    return replace(folder, normal=kept["normal"], abnormal=kept["abnormal"], masks=masks), problems


def _called(name: str, directory: Path, folders: Sequence[str]) -> list[str]:
    """Return the folders that a name given by the user means."""
    return next(iter(match([_below(name, directory)], folders).values()))


def _no_masks(folder: PlainFolder) -> bool:
    """Return whether the user says that masks are not read.

    Raises:
        UnclearError: The user names folders of masks as well.
    """
    none = NONE in map(plain, folder.masks)
    if none and len(folder.masks) > 1:
        raise UnclearError("--masks none reads no masks, and another --masks names some; leave one out")
    return none


def _meaning(folder: PlainFolder, tree: Tree) -> Meaning:
    """Return what the names of the folders of a tree mean.

    Raises:
        UnclearError: A folder is said to be normal and anomalous.
    """
    folders = _folders(tree)

    def called(names: Sequence[str]) -> frozenset[str]:
        return frozenset(each for name in names for each in _called(name, folder.directory, sorted(folders)))

    no_masks = _no_masks(folder)
    normal, abnormal = called(folder.normal), called(folder.abnormal)
    if both := sorted(normal & abnormal):
        raise UnclearError(f"{both[0]}/ is named by --normal and by --abnormal; leave one out")
    return Meaning(
        folders=folders,
        files=frozenset(tree.files),
        normal=normal,
        abnormal=abnormal,
        masks=called(() if no_masks else folder.masks),
        no_masks=no_masks,
    )


def _folders(tree: Tree) -> frozenset[str]:
    """Return all folders in which there are files, and those above them, but for the directory itself."""
    paths = (posixpath.dirname(file).split("/") for file in tree.files)
    return frozenset("/".join(parts[: n + 1]) for parts in paths for n in range(len(parts))) - {""}


def no_photos(tree: Tree) -> list[Leftover]:
    """Return the images of a tree that by their names are masks, or drawings of `bench predict`."""
    meaning = Meaning(folders=_folders(tree), files=frozenset(tree.files))
    places = {file: meaning.place(posixpath.dirname(file)) for file in tree.files if is_image(file)}
    reasons = {file: "taken for masks" for file, place in places.items() if place.mask}
    reasons |= {file: DRAWINGS for file, place in places.items() if place.no_use == DRAWINGS}
    reasons |= dict.fromkeys(beside((file for file in places if file not in reasons), ""), "taken for masks")
    return grouped(reasons, loud=False)


def _below(name: str, directory: Path) -> str:
    """Return a folder's name as below the directory, where it is a path that begins before it."""
    path, real = Path(name).resolve(), directory.resolve()
    begins_before = Path(name).is_absolute() or not (directory / name).is_dir()
    if begins_before and path.is_dir() and inside(str(path), str(real)):
        return TOP if path == real else relative(path, real)
    return name


def _owners(folder: PlainFolder, found: Arrangement) -> dict[Owner, ClassCard]:
    """Return the class of each group of images, in alphabetical order.

    Raises:
        UnclearError: One class name is given for several classes.
    """
    owners = sorted({each.owner for each in found.images})
    if len(owners) == 1:
        name = "/".join(owners[0]) if found.listed else ANY_CLASS
        given = folder.class_name if folder.class_name != ANY_CLASS or not found.listed else None
        return {owners[0]: _class(name, given)}
    if folder.class_name != ANY_CLASS:
        raise UnclearError(
            "--folder-class says what one class shows, and here are several with names of their "
            f"own: {listed(['/'.join(owner) for owner in owners], _SHOWN)}; leave it out"
        )
    shared = next(n for n, level in enumerate(zip(*owners, strict=False)) if len(set(level)) > 1)
    names_of = {owner: owner[shared:] for owner in owners}
    return {owner: _class("/".join(names), names[-1].replace("_", " ")) for owner, names in names_of.items()}


def _class(name: str, prompt: str | None) -> ClassCard:
    if is_blank(name if prompt is None else prompt):
        raise UnclearError(f"{name!r} is no name of a class: it has no letter, or it has control characters; rename it")
    return ClassCard(name=name, prompt=prompt)


def _sample(tree: Tree, found: Found, owner: ClassCard, problems: list[Problem]) -> Sample | None:
    label, mask = found.label, tree.files[found.mask] if found.mask else None
    if label is None and mask is not None:
        try:
            label = int(read_mask(mask, MaskRule(_LAYOUT.mask_threshold)).any())
        except ImageError as error:
            message = f"says whether {found.file} is anomalous, but cannot be read: {error}"
            problems.append(Problem(found.mask or "", "unreadable-mask", message, fatal=True))
            return None
    return Sample(
        key=found.file,
        path=tree.files[found.file],
        class_name=owner.name,
        prompt_name=owner.prompt_name,
        label=label or 0,
        defect=found.kind if label else "",
        split=found.split,
        mask=mask if label else None,
        piece=None,
    )


def _card(folder: PlainFolder, classes: tuple[ClassCard, ...], samples: Sequence[Sample]) -> Card:
    masks = any(each.mask for each in samples)
    both = len({each.label for each in samples if each.split == "test"}) > 1
    levels: tuple[Level, ...] = ("image",) if both or not masks else ()
    return Card(
        name=PLAIN + slug(folder.title),
        title=folder.title,
        version=2,
        domain="custom",
        levels=(*levels, "pixel") if masks else levels,
        licence="your own",
        reference="a directory of your own",
        folders=(),
        classes=classes,
        layouts=(_LAYOUT,),
    )


def _one_sided(samples: Sequence[Sample]) -> Iterator[Problem]:
    counts = count(each for each in samples if each.split == "test")
    for label, word in enumerate(("normal", "anomalous")):
        if lacking := [name for name, found in counts.items() if not found[label]]:
            message = f"there are no {word} test images, so that metrics which compare both are undefined"
            where = "." if len(counts) == 1 else listed(lacking, 3, "more classes")
            yield Problem(where, "one-sided", message, fatal=False)


def _refusal(folder: PlainFolder, tree: Tree, why: str) -> str:
    """Return why a folder is not understood, with what is there besides images."""
    others = [each for each in unread(tree) if each.loud or any(kind_of(file) == "table" for file in each.files)]
    lines = [f"--folder {printable(folder.directory)}: {why}"]
    lines += [f"  {problem.path}: {problem.message}" for problem in tree.problems[:_SHOWN]]
    lines += [f"  {each.text}" for each in others[:_SHOWN]]
    return "\n".join(lines)
