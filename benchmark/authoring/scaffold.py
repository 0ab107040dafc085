"""Writing a new method: a file that works and a test, from the starters, for an author to change."""

import importlib.util
import itertools
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

from benchmark import contract
from benchmark.common import write_whole
from benchmark.errors import BenchError
from benchmark.protocol import PROTOCOL
from benchmark.registry import all_methods

STARTERS = Path(__file__).parent / "starters"
LONGEST = 30
"""Characters of a name; longer ones break lines, of the files and of tables."""

_IMPORTS = """\
import torch

from benchmark.authoring import check_method, random_probe, render
from benchmark.clip import load_backbone, parse_backbone
from benchmark.contract import Features
"""
_INSIDE = f"""
{_IMPORTS}from methods.$name import $cls
"""
_OUTSIDE = f"""
from pathlib import Path

{_IMPORTS}from benchmark.registry import load_plugin

($cls,) = load_plugin(Path(__file__).with_name("$name.py"))
"""
_TEST = """
BACKBONE = load_backbone(parse_backbone("tiny:random"))
OPTIONS = $cls.Options()


def test_it_keeps_the_contract() -> None:
    findings = check_method($cls, OPTIONS, BACKBONE, random_probe)
    assert all(finding.passed for finding in findings), render(findings)


def test_a_patch_like_the_damaged_prompt_scores_highest() -> None:
    method, nothing = $cls(BACKBONE, OPTIONS), torch.zeros(1, BACKBONE.width)
    with torch.no_grad():
        normal, damaged = method.text(["metal nut"])[0]
        patches = torch.stack([damaged if patch == 4 else normal for patch in range(9)])[None]
        features = Features(image=nothing, image_raw=nothing, patches={method.layer: patches}, cls={}, grid=3)
        assert method.predict(features, ["metal nut"]).maps.flatten().argmax() == 4
"""


class ScaffoldError(BenchError):
    """A method of that name cannot be written there; the message says why, and which name would do."""


def write_method(name: str, folder: Path, *, learns: bool) -> tuple[Path, Path]:
    """Write a method and its test, where `places` says.

    Args:
        name: of the method and of its file.
        folder: a checkout of the benchmark, or any folder.
        learns: the method trains on an auxiliary dataset.

    Returns:
        The two files.

    Raises:
        ScaffoldError: the name will not do, or one of the files is there.
        OSError: the folder cannot be written.
    """
    if wrong := _wrong(name, folder):
        raise ScaffoldError(f"{name!r} {wrong}; {_suggestion(name, folder)} would do")
    path, test = places(name, folder)
    source = (STARTERS / ("learner.py" if learns else "frozen.py")).read_text(encoding="utf-8")
    write_whole(path, source.replace("Starter", class_name(name)).replace("starter", name))
    title = f'"""{class_name(name)}: it keeps the contract, and what is its own."""\n'
    template = Template((_INSIDE if is_checkout(folder) else _OUTSIDE) + _TEST)
    write_whole(test, title + template.substitute(name=name, cls=class_name(name)))
    return path, test


def is_checkout(folder: Path) -> bool:
    """Say whether methods are known by lying in the folder's `methods`."""
    return (folder / "methods/base.py").is_file() and (folder / "tests/methods").is_dir()


def places(name: str, folder: Path) -> tuple[Path, Path]:
    """Return where a method and its test are written: into a checkout's rooms, else beside each other."""
    inside = is_checkout(folder)
    rooms = (folder / "methods", folder / "tests/methods") if inside else (folder, folder)
    return rooms[0] / f"{name}.py", rooms[1] / f"test_{name}.py"


def next_steps(name: str, folder: Path) -> str:
    """Return the commands that come next, as they are typed in the folder."""
    path, test = (place.relative_to(folder) for place in places(name, folder))
    plugin = "" if is_checkout(folder) else f" --plugin {path}"
    return "\n".join(
        [
            f"bench check-method {name}{plugin}",
            f"pytest {test}",
            f"bench run --methods clip,{name}{plugin} --datasets mvtec,visa",
        ]
    )


def class_name(name: str) -> str:
    """Return the name of a method's class: `patch_max` → `PatchMax`."""
    return "".join(part.capitalize() for part in name.split("_"))


def _wrong(name: str, folder: Path) -> str | None:
    """Say why a method cannot have this name, or None."""
    return next(_objections(name, folder), None)


def _objections(name: str, folder: Path) -> Iterator[str]:
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        yield "is not of lower case letters, digits and underscores, a letter first"
    if len(name) > LONGEST:
        yield f"is longer than {LONGEST} characters"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        yield "is a word of Python"
    if there := [place for place in places(name, folder) if place.exists()]:
        yield f"would overwrite {there[0]}, which is left alone"
    if name == PROTOCOL or class_name(name) in {*vars(contract), "Sequence", "Tensor"}:
        yield "means something else in the contract or on the command line"
    if name in all_methods():
        yield "is the name of a method that `bench methods` shows"
    if any(importlib.util.find_spec(module) for module in (name, f"methods.{name}")):
        yield "is the name of a Python module, which the file would hide"


def _suggestion(name: str, folder: Path) -> str:
    """Return a name near to the given one that will do."""
    snake = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()
    base = re.sub("[^a-z0-9]+", "_", snake).strip("_")[: LONGEST - 3].rstrip("_")
    base = base if base[:1].isalpha() else f"method_{base}"[: LONGEST - 3].rstrip("_")
    candidates = itertools.chain([base], (f"{base}_{n}" for n in itertools.count(2)))
    return next(each for each in candidates if not _wrong(each, folder))
