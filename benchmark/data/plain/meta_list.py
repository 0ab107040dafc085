"""A meta.json as the source of labels, masks, classes and kinds, where the names of folders say nothing.

Its form is that of AnomalyCLIP: `{"train": {class: [record]}, "test": {class: [record]}}`, a record being `{"img_path",
"mask_path", "cls_name", "specie_name", "anomaly"}`, with paths relative to the file. No file outside of the directory
is opened.
"""

import json
from collections.abc import Iterator
from typing import Any

from benchmark.common import read_limited
from benchmark.data import words
from benchmark.data.cards import Split
from benchmark.data.formats import is_image
from benchmark.data.meta import META_LIMIT, leads_out, posix
from benchmark.data.plain.arranged import Arrangement, Found, UnclearError
from benchmark.data.tree import Tree

META = "meta.json"


def by_meta(tree: Tree) -> Arrangement | None:
    """Return the images that the meta.json at the top of a tree lists; None where there is none.

    Raises:
        UnclearError: It is not of the usual form, or lists no test images.
    """
    if META not in tree.files:
        return None
    try:
        content = json.loads(read_limited(tree.files[META], META_LIMIT))
        records = list(_records(content))
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise UnclearError(f"{META} is not of the usual form: {error or type(error).__name__}") from None
    result = Arrangement(listed=META)
    for split, name, record in records:
        _add(result, tree, split, name, record)
    seen: dict[str, Found] = {}
    for each in result.images:
        if seen.setdefault(each.file, each) is not each:
            same = seen[each.file] == each
            result.report(
                each.file, "listed-twice", f"{META} lists it twice" + ("" if same else ", differently"), fatal=not same
            )
    result.images = list(seen.values())
    if not any(each.split == "test" for each in result.images):
        raise UnclearError(f"{META} lists no test image that is there")
    used = set(seen) | {each.mask for each in result.images if each.mask}
    result.taken = f"classes, labels, kinds and masks by {META}, as the names of folders do not say them"
    result.leave_out((file for file in tree.files if is_image(file) and file not in used), f"{META} does not list it")
    return result


def _records(content: Any) -> Iterator[tuple[Split, str, dict[str, Any]]]:
    """Yield the records with their splits and classes."""
    known = False
    for phase, classes in content.items():
        split = words.split_of(phase)
        if split is None:
            continue
        known = True
        for name, records in classes.items():
            for record in records:
                if not isinstance(record["img_path"], str):
                    raise TypeError("an img_path is no text")
                yield split, name, record
    if not known:
        raise ValueError("it has neither 'test' nor 'train'")


def _add(result: Arrangement, tree: Tree, split: Split, name: str, record: dict[str, Any]) -> None:
    file = _file(result, tree, record["img_path"])
    if file is None:
        return
    label = words.label_of(str(record.get("anomaly")))
    if label is None:
        message = f"{META} says anomaly = {record.get('anomaly')!r}, not 0 or 1; correct it"
        result.report(file, "no-label", message)
        return
    given = record.get("mask_path")
    mask = _file(result, tree, given) if isinstance(given, str) and given else None
    kind = record.get("specie_name")
    kind = kind if label and isinstance(kind, str) else ""
    owner = record.get("cls_name")
    owner = (isinstance(owner, str) and owner.strip()) or name.strip() or "object"
    result.images.append(Found(file, (owner,), label, kind, split, mask, META))


def _file(result: Arrangement, tree: Tree, given: str) -> str | None:
    """Return the file that a path of the list names: itself, or of a path of another machine what its end names."""
    path = posix(given)
    if not leads_out(path):
        found = tree.find(str(path))
        if found is None:
            result.report(str(path), "missing-file", f"{META} lists it, but it is not there; complete the data")
        return found
    ends = ("/".join(path.parts[start:]) for start in range(1, len(path.parts)))
    found = next((each for end in ends if ".." not in end.split("/") and (each := tree.find(end))), None)
    if found is None:
        message = f"{META} lists a path that leads out of the directory; write paths that count from {META}"
        result.report(str(path), "outside-root", message)
    return found
