"""Methods from elsewhere: files named on the command line, and entry points of other packages."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.contract import Method
from benchmark.registry import RegistryError, all_methods, load_plugin
from methods.clip import Clip

Bench = Callable[..., tuple[int, str, str]]
METHOD = """
from methods.clip import Clip


class Shout(Clip):
    name = "shout"
    title = "Shout"
    paper = "none"
"""


pytestmark = pytest.mark.usefixtures("no_plugins")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str, name: str = "shout.py") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_plugin_is_known_once_it_is_named(file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(METHOD)
    monkeypatch.chdir(path.parent)
    assert "shout" not in all_methods()  # what lies about is not looked for
    (shout,) = load_plugin(Path("shout.py"))
    assert all_methods()["shout"] is shout
    assert list(all_methods()) == sorted(all_methods())
    assert "shout" not in registry._installed()


def test_a_file_is_run_once_however_it_is_named(file: Callable[[str], Path], tmp_path: Path) -> None:
    path = file(METHOD + "\n(__import__('pathlib').Path(__file__).with_name('ran')).open('a').write('x')\n")
    assert load_plugin(path) == load_plugin(tmp_path / "." / path.name)
    link = tmp_path / "link.py"
    link.symlink_to(path)
    assert load_plugin(link) == load_plugin(path)
    assert (tmp_path / "ran").read_text() == "x"


def test_a_file_of_the_methods_folder_is_registered_already() -> None:
    import methods.clip

    before = all_methods()
    assert Clip in load_plugin(Path(methods.clip.__file__))
    assert all_methods() == before


def test_dataclasses_and_annotations_of_a_plugin_are_resolved(file: Callable[[str], Path]) -> None:
    (shout,) = load_plugin(
        file(
            "from __future__ import annotations\n"
            "from dataclasses import dataclass\n"
            "from typing import Literal\n"
            + METHOD
            + "    @dataclass(frozen=True, slots=True)\n"
            + "    class Options:\n        how: Literal['loud', 'low'] = 'low'\n"
        )
    )
    assert registry.make_options(shout, {"how": "loud"}).how == "loud"
    with pytest.raises(RegistryError, match=r"option shout\.how"):
        registry.make_options(shout, {"how": "high"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n\nraise ValueError('no luck')", r"shout\.py: line 3: ValueError: no luck"),
        ("import no_such_module", r"line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    return nowhere\n\n\nf()", "line 2: NameError: name 'nowhere'"),
        ("from methods.clip import Clip\nclass Shout(Clip:\n", "line 2: SyntaxError: "),
        ("import sys\nsys.exit('bye')", "line 2: SystemExit: bye"),
        ("from methods.clip import Clip, ClipAC", "no subclass of .*new-method"),
        ("from benchmark.contract import Method\nclass Half(Method):\n    name = 'half'", "Half .*predict, vision"),
        (METHOD.replace("shout", "clip"), "Shout is named 'clip', as Clip of .*methods.clip.py is"),
        (METHOD.replace("Clip", "Method").replace("methods.clip", "benchmark.contract"), "Shout .*predict, vision"),
        (METHOD + "class Again(Shout):\n    title = 'Again'", "Again is named 'shout', as Shout of .*shout.py is"),
        ("from methods.clip import FixedPrompts\nclass New(FixedPrompts):\n    prompts = None", "New .* say name"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(file: Callable[[str], Path], text: str, said: str) -> None:
    before = all_methods()
    path = file(text)
    with pytest.raises(RegistryError, match=said) as caught:
        load_plugin(path)
    assert str(caught.value).startswith(f"--plugin {path}: ")
    assert all_methods() == before
    assert registry.PLUGINS == {}


def test_what_is_no_python_file_is_refused(file: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"none\.py: no such file"):
        load_plugin(tmp_path / "none.py")
    with pytest.raises(RegistryError, match="no such file"):
        load_plugin(tmp_path)
    with pytest.raises(RegistryError, match=r"not a Python file"):
        load_plugin(file(METHOD, "shout.txt"))


def test_two_plugins_must_not_share_a_name(file: Callable[..., Path]) -> None:
    load_plugin(file(METHOD))
    with pytest.raises(RegistryError, match=r"other\.py: Shout is named 'shout', as Shout of .*shout\.py is"):
        load_plugin(file(METHOD, "other.py"))


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    found: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [each for each in found if each.group == group])
    registry._installed.cache_clear()
    yield found
    registry._installed.cache_clear()


def test_methods_of_other_packages_register_by_entry_point(
    entries: list[EntryPoint], file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(file(METHOD, "shout_package.py").parent)
    entries.append(EntryPoint("shout", "shout_package:Shout", registry.ENTRY_POINTS))
    assert all_methods()["shout"].title == "Shout"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_package:Shout", r"entry point shout of .* cannot be loaded: ModuleNotFoundError"),
        ("json:loads", r"entry point shout of zsad_bench\.methods \(json:loads\) is no benchmark Method"),
        ("methods.clip:Clip", r"entry point shout .*named 'clip'"),
    ],
)
def test_a_wrong_entry_point_is_named(entries: list[EntryPoint], value: str, said: str) -> None:
    entries.append(EntryPoint("shout", value, registry.ENTRY_POINTS))
    with pytest.raises(RegistryError, match=said):
        all_methods()


# --- on the command line


def test_methods_lists_those_of_a_plugin_and_only_then(bench: Bench, file: Callable[[str], Path]) -> None:
    path = file(METHOD)
    code, out, _ = bench("methods", "--plugin", path, "--plugin", path)
    assert code == 0
    assert "shout  (Shout, version 1)" in out
    assert "shout.temperature = 0.07" in out
    assert "shout" not in bench("methods")[1]


@pytest.mark.parametrize("command", ["run", "train", "ablate", "methods", "check-method"])
def test_every_command_that_takes_method_names_takes_plugins(
    bench: Bench, file: Callable[[str], Path], command: str
) -> None:
    name = ["shout"] if command in ("ablate", "check-method") else []
    path = file("raise ValueError('no luck')")
    code, _, err = bench(command, *name, "--plugin", path)
    assert (code, err) == (2, f"bench: --plugin {path}: line 1: ValueError: no luck\n")


def test_options_and_names_of_a_plugin_are_checked_as_of_any_method(bench: Bench, file: Callable[[str], Path]) -> None:
    path = file(METHOD)
    code, _, err = bench("run", "--methods", "shoud", "--plugin", path, "--folder", path.parent)
    assert code == 2
    assert "did you mean shout" in err
    code, _, err = bench("run", "--methods", "shout", "--set", "shout.x=1", "--plugin", path, "--folder", path.parent)
    assert code == 2
    assert "unknown option of shout 'x'" in err


def test_registered_methods_are_whole() -> None:
    for name, method in all_methods().items():
        assert issubclass(method, Method)
        assert method.name == name
