"""A meta.json as the source of labels, masks, classes and kinds, where the names of folders say nothing.

Its form is that of AnomalyCLIP: `{"train": {class: [record]}, "test": {class: [record]}}`, a record being `{"img_path",
"mask_path", "cls_name", "specie_name", "anomaly"}`, with paths relative to the file. No file outside of the directory
is opened.
"""

import json
from typing import Any

from benchmark.common import ANY_CLASS, read_limited
from benchmark.data import words
from benchmark.data.cards import Split
from benchmark.data.formats import is_image
from benchmark.data.listed_paths import find_listed
from benchmark.data.meta import META, META_LIMIT, leads_out, meta_records, posix
from benchmark.data.plain.arranged import Arrangement, Found, UnclearError
from benchmark.data.tree import Tree


def by_meta(tree: Tree) -> Arrangement | None:
    """Return the images that the meta.json at the top of a tree lists; None where there is none.

    Raises:
        UnclearError: It is not of the usual form, or lists no test images.
    """
    meta = tree.find(META)
    if meta is None:
        return None
    try:
        content = json.loads(read_limited(tree.files[meta], META_LIMIT))
        records = list(meta_records(content))
    except (OSError, ValueError, RecursionError) as error:
        raise UnclearError(f"{META} is not of the usual form: {error or type(error).__name__}") from None
    result = Arrangement(listed=meta)
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
        why = "".join(f"\n  {each.path}: {each.message}" for each in result.problems[:1])
        raise UnclearError(f"{META} lists no test image that can be used{why}")
    used = set(seen) | {each.mask for each in result.images if each.mask}
    result.taken = f"classes, labels, kinds and masks by {META}, as the names of folders do not say them"
    result.leave_out((file for file in tree.files if is_image(file) and file not in used), f"{META} does not list it")
    return result


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
    owner = (isinstance(owner, str) and owner.strip()) or name.strip() or ANY_CLASS
    result.images.append(Found(file, (owner,), label, kind, split, mask, META))


def _file(result: Arrangement, tree: Tree, given: str) -> str | None:
    """Return the file that a path of the list names: itself, or of a path of another machine what its end names."""
    found, _ = find_listed(given, "", tree)
    path = posix(given)
    if found is None and not leads_out(path):
        result.report(str(path), "missing-file", f"{META} lists it, but it is not there; complete the data")
    elif found is None:
        message = f"{META} lists a path that leads out of the directory; write paths that count from {META}"
        result.report(str(path), "outside-root", message)
    return found
