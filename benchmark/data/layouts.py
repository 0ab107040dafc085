"""Reading the samples of a directory by one layout of a card: by rules, with a table of labels, or by a list.

Masks are found by name, never by position: a file that is left over on either side is a problem.
"""

import math
import posixpath
import re
import string
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark.data.cards import Card, HoldOut, LabelTable, Layout, Rule, Split
from benchmark.data.csv_tables import label_in, read_csv
from benchmark.data.formats import is_image
from benchmark.data.found import Found, FoundImage
from benchmark.data.images import ImageError
from benchmark.data.indices import by_index
from benchmark.data.masks import MaskRule, read_mask
from benchmark.data.tree import Problem, Tree, stem
from benchmark.data.words import NORMAL, spelled


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, or one piece of an image, with its label."""

    key: str
    """Unique name: the path relative to the dataset's directory, with forward slashes, in Unicode's NFC, and `#i` for
    piece i."""
    path: Path
    class_name: str
    prompt_name: str
    label: int
    """0 normal, 1 anomalous."""
    defect: str
    """The type of defect; "" where it is unknown or there is none."""
    split: Split
    mask: Path | None
    """The mask file; None for normal samples and for samples without a mask."""
    piece: tuple[int, int] | None
    """(i, n) where the sample is only the rows [i·h//n, (i+1)·h//n) of the image and of its mask."""
    view_of: str | None = None
    """The physical sample that the image is a view of, by a name that is unique in its class; None where there are no
    views."""

    @property
    def photograph(self) -> str:
        """The key of the image that the sample is, or is a piece of."""
        return self.key if self.piece is None else self.key.removesuffix(f"#{self.piece[0]}")


def read_layout(
    card: Card, layout: Layout, tree: Tree, root: str
) -> tuple[tuple[Sample, ...], tuple[Problem, ...], dict[str, str]]:
    """Read the samples of a layout whose paths count from the folder `root` of the tree.

    Returns:
        The samples, sorted by class in the card's order and then by key, the problems that were found, and the masks of
        images that are not anomalous, by image. There are no samples where the layout does not fit.

    Raises:
        BadTableError: A table or list of the layout exists but is not as the card describes it.
    """
    found = Found(tree)
    prefix = f"{root}/" if root else ""
    needs = tuple(f"{prefix}{folder}/" for folder in layout.needs)
    if needs and not any(file.startswith(needs) for file in tree.files):
        return (), (), {}
    if layout.index:
        by_index(card, layout.index, prefix, found)
    else:
        _by_rules(card, layout, prefix, found)
    _report_leftovers(card, prefix, found)
    samples = [sample for image in found.images for sample in _cut(layout, image, prefix, found)]
    order = {c.name: i for i, c in enumerate(card.classes)}
    samples.sort(key=lambda s: (order[s.class_name], s.key))
    if layout.hold_out:
        samples = _hold_out(samples, layout.hold_out)
    anomalous = {sample.photograph for sample in samples if sample.label}
    spare = found.normal_masks | {i.file: i.mask for i in found.images if i.mask and i.file not in anomalous}
    return tuple(samples), tuple(found.problems), spare


# ---- by rules


def _by_rules(card: Card, layout: Layout, prefix: str, found: Found) -> None:
    labels = _read_labels(layout.labels, prefix, found) if layout.labels else {}
    if labels is None:
        return
    unlabelled = dict(labels)
    unknown: set[str] = set()
    said: dict[str, dict[str, str]] = {}
    for file in found.tree.files:
        if not is_image(file) or not file.startswith(prefix):
            continue
        path = stem(file[len(prefix) :])
        rule, match = next(((r, m) for r in layout.rules if (m := r.match(path))), (None, None))
        if rule is None or match is None:
            continue
        groups = {name: value or "" for name, value in match.groupdict().items()}
        folder = rule.class_name or groups.get("class") or card.classes[0].name
        owner = card.class_of(folder)
        if owner is None:
            unknown.add(file[: len(prefix) + match.end("class")])
            continue
        found.matched.add(file)
        if rule.label == "anomalous" and spelled(posixpath.basename(posixpath.dirname(path))) in NORMAL:
            found.clashes.add(posixpath.dirname(file))
            continue
        mask = _find_mask(rule, groups, file, prefix, found)
        label: int | None = {"normal": 0, "anomalous": 1, "mask_exists": int(mask is not None)}.get(rule.label)
        if rule.label == "table":
            if groups["stem"] not in labels:
                found.report(file, "no-label", "the table of labels has no row for this image; complete the table")
                continue
            unlabelled.pop(groups["stem"], None)
            label = labels[groups["stem"]]
        elif rule.label == "mask_nonzero" and mask is None:
            found.report(file, "missing-mask", f"no mask says whether it is anomalous; {_looked_for(rule, groups)}")
            continue
        if label == 1 and mask is None and rule.mask and "pixel" in card.levels:
            found.report(file, "missing-mask", f"an anomalous image without mask; {_looked_for(rule, groups)}")
        said[file] = groups
        defect = rule.defect or groups.get("defect", "")
        found.images.append(FoundImage(file, owner, label, defect, rule.split, mask))
    _claim_masks_of_normal_images(said, prefix, found)
    _report_folders(unknown, found)
    if found.images:
        for key in unlabelled:
            found.report(key, "missing-file", "the table of labels has a row for this image, but it is not there")


def _report_folders(unknown: set[str], found: Found) -> None:
    for folder in sorted(found.clashes):
        message = "its name says normal, but it lies where defects do; name it as the card names normal images"
        found.report(folder, "doubtful-label", f"{message}, or move it away")
    for folder in sorted(unknown):
        found.report(folder, "unknown-class", "a folder of no class of the card; ignored", fatal=False)


def _find_mask(rule: Rule, groups: dict[str, str], file: str, prefix: str, found: Found) -> str | None:
    if rule.label == "normal":
        return None
    found.templates.update(rule.mask)
    for template in rule.mask:
        path = prefix + template.format_map(groups)
        found.mask_folders.add(posixpath.dirname(path))
        twins = [f for f in found.tree.named(path) if f != file]
        found.mask_folders.update(posixpath.dirname(twin) for twin in twins)
        if len(twins) > 1:
            message = f"{twins} could all be the mask of {file}; the first was taken, move the others away"
            found.report(twins[0], "ambiguous-mask", message, fatal=False)
        if twins:
            return twins[0]
    return None


def _claim_masks_of_normal_images(said: dict[str, dict[str, str]], prefix: str, found: Found) -> None:
    """Find masks of normal images, which many copies have, where those of anomalous images are looked for."""
    claimed = found.matched | {image.mask for image in found.images if image.mask}
    normal = [image for image in found.images if image.label == 0 and image.mask is None]
    for file in (image.file for image in sorted(normal, key=lambda image: image.split)):  # test before train
        usual = {"defect": posixpath.basename(posixpath.dirname(file)), "stem": posixpath.basename(stem(file))}
        groups = usual | said[file]
        for template in sorted(found.templates):
            if {name for _, name, _, _ in string.Formatter().parse(template) if name is not None} <= set(groups):
                twins = found.tree.named(prefix + template.format_map(groups))
                if mask := next((twin for twin in twins if twin not in claimed), None):
                    found.normal_masks.setdefault(file, mask)
                    claimed.add(mask)


def _looked_for(rule: Rule, groups: dict[str, str]) -> str:
    return "looked for " + " or ".join(f"{template.format_map(groups)}.*" for template in rule.mask)


def _read_labels(table: LabelTable, prefix: str, found: Found) -> dict[str, int] | None:
    """Return the labels by key, or None if there is no table."""
    file = next((f for name in table.file if (f := found.tree.find(prefix + name))), None)
    if file is None:
        return None
    labels: dict[str, int] = {}
    for line, row in read_csv(found.tree, file, (table.key, table.column)):
        key = row[table.key]
        if is_image(key):  # a file in place of its number
            key = stem(posixpath.basename(key.replace("\\", "/")))
        if table.key_width:  # a number, which pandas may have written as 7.0
            key = key.removesuffix(".0").zfill(table.key_width)
        label = label_in(row[table.column], dict.fromkeys(table.anomalous, 1), f"line {line}: {table.column}", file)
        if key in labels:
            message = f"{key} is listed twice" + ("" if labels[key] == label else " with different labels")
            found.report(file, "listed-twice", message, fatal=labels[key] != label)
        labels.setdefault(key, label)
    return labels


# ---- after both


def _report_leftovers(card: Card, prefix: str, found: Found) -> None:
    """Report masks that belong to no image, and masks that belong to two images."""
    claims = {stem(mask): image for image, mask in found.normal_masks.items()}
    for image in found.images:
        if image.mask and (first := claims.setdefault(stem(image.mask), image.file)) != image.file:
            found.report(image.file, "shared-mask", f"has the same mask as {first}; which of them is meant?")
    # A folder that also holds images may hold other things too; there, only what is named like a mask is one.
    pure = found.mask_folders - {posixpath.dirname(file) for file in found.matched}
    named = [
        re.compile(re.escape(prefix) + _pattern(card, template), re.IGNORECASE) for template in sorted(found.templates)
    ]
    for path, files in found.tree.images.items():
        is_mask = posixpath.dirname(path) in pure or any(p.fullmatch(path) for p in named)
        if is_mask and path not in claims:
            for file in sorted(set(files) - found.matched):
                found.report(file, "orphan-mask", "a mask that belongs to no image; is the image missing?")


def _pattern(card: Card, template: str) -> str:
    """Return the regular expression of the masks that a template can name."""
    known = "|".join(re.escape(name) for c in card.classes for name in (c.name, *c.folders))
    parts = []
    for literal, group, _, _ in string.Formatter().parse(template):
        parts.append(re.escape(literal))
        if group is not None:
            parts.append(f"(?:{known})" if group == "class" else "[^/]+")
    return "".join(parts)


def _cut(layout: Layout, image: FoundImage, prefix: str, found: Found) -> list[Sample]:
    """Return the samples of an image: itself, or its pieces."""
    files, n = found.tree.files, layout.pieces
    labels = [image.label] * n
    if image.label is None and image.mask:
        try:
            pixels = read_mask(files[image.mask], MaskRule(layout.mask_threshold))
        except ImageError as error:
            message = f"says whether {image.file} is anomalous, but cannot be read: {error}"
            found.report(image.mask, "unreadable-mask", message)
            return []
        height = len(pixels)
        labels = [int(pixels[i * height // n : (i + 1) * height // n].any()) for i in range(n)]
    view_of = _view_of(layout, image.file, prefix, found)
    return [
        Sample(
            key=image.file if n == 1 else f"{image.file}#{i}",
            path=files[image.file],
            class_name=image.owner.name,
            prompt_name=image.owner.prompt_name,
            label=label or 0,
            defect=image.defect if label else "",
            split=image.split,
            mask=files[image.mask] if label and image.mask else None,
            piece=None if n == 1 else (i, n),
            view_of=view_of,
        )
        for i, label in enumerate(labels)
    ]


def _view_of(layout: Layout, file: str, prefix: str, found: Found) -> str | None:
    """Return the physical sample that an image is a view of, by the layout's pattern."""
    if layout.views is None:
        return None
    match = re.fullmatch(layout.views, stem(file[len(prefix) :]), re.IGNORECASE)
    if match is None:
        found.report(file, "no-sample", "its name does not say which sample it is a view of; name it as the others")
    return match and match["sample"]


def _hold_out(samples: list[Sample], rule: HoldOut) -> list[Sample]:
    """Return the samples with all anomalous ones, and a seeded part of the normal ones, as test samples."""
    normal = sorted(s.key for s in samples if s.label == 0)
    if len(normal) < 2:  # nothing to split
        return [replace(s, split="test") for s in samples]
    # The split of scikit-learn's train_test_split, whose import would take longer than reading the dataset.
    order = np.random.RandomState(rule.seed).permutation(len(normal))
    train = {normal[i] for i in order[math.ceil(rule.fraction * len(normal)) :]}
    return [replace(s, split="train" if s.key in train else "test") for s in samples]
