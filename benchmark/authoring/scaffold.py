"""Writes the files of a new method: a method that works and its test, made from the starters."""

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
MAX_LENGTH = 30
"""Largest length of a method's name; a longer one breaks lines in the files and in tables."""

_IMPORTS = """\
import torch

from benchmark.authoring import check_method, random_images, render
from benchmark.clip import load_backbone, parse_backbone
from benchmark.contract import Features
"""
_HEAD_IN_CHECKOUT = f"""
{_IMPORTS}from methods.$name import $cls
"""
_HEAD_ELSEWHERE = f"""
from pathlib import Path

{_IMPORTS}from benchmark.registry import load_plugin

($cls,) = load_plugin(Path(__file__).with_name("$name.py"))
"""
_TESTS = """
BACKBONE = load_backbone(parse_backbone("tiny:random"))
OPTIONS = $cls.Options()


def test_it_keeps_the_contract() -> None:
    findings = check_method($cls, OPTIONS, BACKBONE, random_images)
    assert all(finding.passed for finding in findings), render(findings)


def test_a_patch_like_the_damaged_prompt_scores_highest() -> None:
    method, zeros = $cls(BACKBONE, OPTIONS), torch.zeros(1, BACKBONE.width)
    with torch.no_grad():
        normal, damaged = method.text(["metal nut"])[0]
        patches = torch.stack([damaged if patch == 4 else normal for patch in range(9)])[None]
        features = Features(image=zeros, image_raw=zeros, patches={method.layer: patches}, cls={}, grid=3)
        assert method.predict(features, ["metal nut"]).maps.flatten().argmax() == 4
"""


class ScaffoldError(BenchError):
    """Raised if a method of that name cannot be written. The message gives the reason and a valid name."""


def write_method(name: str, folder: Path, *, learns: bool) -> tuple[Path, Path]:
    """Write a method and its test.

    Args:
        name: Name of the method and of its file.
        folder: A checkout of the benchmark, or any other folder.
        learns: Whether the method trains on an auxiliary dataset.

    Returns:
        The paths of the two files, see `method_paths`.

    Raises:
        ScaffoldError: If the name is not valid, or if one of the files exists.
        OSError: If the folder cannot be written.
    """
    if objection := _objection(name, folder):
        raise ScaffoldError(f"{name!r} {objection}; {_suggestion(name, folder)} would do")
    path, test = method_paths(name, folder)
    source = (STARTERS / ("learner.py" if learns else "frozen.py")).read_text(encoding="utf-8")
    write_whole(path, source.replace("Starter", class_name(name)).replace("starter", name))
    title = f'"""{class_name(name)}: it keeps the contract, and what is its own."""\n'
    template = Template((_HEAD_IN_CHECKOUT if is_checkout(folder) else _HEAD_ELSEWHERE) + _TESTS)
    write_whole(test, title + template.substitute(name=name, cls=class_name(name)))
    return path, test


def is_checkout(folder: Path) -> bool:
    """Return whether the folder is a checkout, in which every file of `methods` is registered."""
    return (folder / "methods/base.py").is_file() and (folder / "tests/methods").is_dir()


def method_paths(name: str, folder: Path) -> tuple[Path, Path]:
    """Return the paths of a method and its test: in a checkout `methods/` and `tests/methods/`, else side by side."""
    inside = is_checkout(folder)
    folders = (folder / "methods", folder / "tests/methods") if inside else (folder, folder)
    return folders[0] / f"{name}.py", folders[1] / f"test_{name}.py"


def next_steps(name: str, folder: Path) -> str:
    """Return the commands to run next, as they are typed in the folder."""
    path, test = (each.relative_to(folder) for each in method_paths(name, folder))
    plugin = "" if is_checkout(folder) else f" --plugin {path}"
    return "\n".join(
        [
            f"bench check-method {name}{plugin}",
            f"python -m pytest {test}",
            f"bench run --methods clip,{name}{plugin} --datasets mvtec,visa",
        ]
    )


def class_name(name: str) -> str:
    """Return the name of a method's class: `patch_max` → `PatchMax`."""
    return "".join(part.capitalize() for part in name.split("_"))


def _objection(name: str, folder: Path) -> str | None:
    """Return why a method cannot have this name, or None if it can."""
    return next(_objections(name, folder), None)


def _objections(name: str, folder: Path) -> Iterator[str]:
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        yield "is not of lower case letters, digits and underscores, a letter first"
    if len(name) > MAX_LENGTH:
        yield f"is longer than {MAX_LENGTH} characters"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        yield "is a word of Python"
    if existing := [path for path in method_paths(name, folder) if path.exists()]:
        yield f"would overwrite {existing[0]}, which is left alone"
    if name == PROTOCOL or class_name(name) in {*vars(contract), "Sequence", "Tensor"}:
        yield "means something else in the contract or on the command line"
    if name in all_methods():
        yield "is the name of a method that `bench methods` shows"
    if any(importlib.util.find_spec(module) for module in (name, f"methods.{name}")):
        yield "is the name of a Python module, which the file would hide"


def _suggestion(name: str, folder: Path) -> str:
    """Return a valid name that is close to the given one."""
    snake = re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()
    base = re.sub("[^a-z0-9]+", "_", snake).strip("_")[: MAX_LENGTH - 3].rstrip("_")
    base = base if base[:1].isalpha() else f"method_{base}"[: MAX_LENGTH - 3].rstrip("_")
    candidates = itertools.chain([base], (f"{base}_{n}" for n in itertools.count(2)))
    return next(each for each in candidates if not _objection(each, folder))
