"""Methods from elsewhere: files named on the command line, and entry points of other packages."""

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.contract import Method
from benchmark.registry import RegistryError, all_methods, load_plugin, make_options, sources
from methods.april_gan import AprilGan
from methods.clip import Clip
from methods.coop import CoOp

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
    assert "shout" not in registry.installed_methods()


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
        (METHOD.replace('"Shout"', r'"S\u202eout"'), r"has the title 'S\\u202eout'; say 1 to 60 printable letters"),
        (METHOD.replace('"Shout"', r'"S\x1b[1mt"'), r"has the title 'S\\x1b\[1mt'; say 1 to 60 printable letters"),
        (METHOD.replace('"Shout"', f'"{61 * "o"}"'), "has the title 'o{61}'; say 1 to 60 printable letters"),
        (METHOD.replace('"Shout"', '" "'), "has the title ' '; say 1 to 60 printable letters"),
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


ABLATION = METHOD.replace("import Clip\n", "import Clip\nfrom benchmark.contract import Ablation\n")


@pytest.mark.parametrize(
    ("ablations", "said"),
    [
        ('{"temperature": [0.01]}', r"ablations must be a tuple of Ablation, as in \(Ablation\("),
        ('("temperature",)', "ablations must be a tuple of Ablation"),
        ('Ablation("heat", "Heat", {"x": {}})', "ablations must be a tuple of Ablation"),
        ('(Ablation("heat", "Heat", [0.01]),)', "ablation 'heat': variants must be a dict of dicts"),
        ('(Ablation("heat", "Heat", {"x": 0.01}),)', "ablation 'heat': variants must be a dict of dicts"),
        ('(Ablation("heat", "Heat", {}),)', "ablation 'heat' has no variants"),
        ('(Ablation("../heat", "Heat", {"x": {}}),)', "ablation '../heat': a name has letters"),
        ('(Ablation("h", "H", {"x": {"temprature": 1}}),)', "ablation 'h', row 'x': .*did you mean temperature"),
        ('(Ablation("h", "H", {"x": {"temperature": "hot"}}),)', r"row 'x': option shout\.temperature: .*number"),
        ('(Ablation("h", "H", {"x": {}}), Ablation("h", "H", {"y": {}}))', "two of its ablations have the same name"),
        ('(Ablation("h", {"x": {}}),)', "line 10: TypeError: .*missing 1 required positional argument: 'variants'"),
    ],
)
def test_wrong_ablations_are_named_with_what_is_wrong(
    file: Callable[[str], Path], bench: Bench, ablations: str, said: str
) -> None:
    path = file(f"{ABLATION}    ablations = {ablations}\n")
    code, _, err = bench("ablate", "shout", "--plugin", path)
    assert code == 2
    assert re.fullmatch(rf"bench: --plugin {re.escape(str(path))}: .*{said}.*\n", err), err


def test_an_ablation_of_ones_own_is_run(file: Callable[[str], Path], bench: Bench, parts: Path, tmp_path: Path) -> None:
    path = file(f'{ABLATION}    ablations = (Ablation("h", "H", {{"a": {{}}, "b": {{"temperature": 0.01}}}}),)\n')
    assert "  ablate: h\n" in bench("methods", "--plugin", path)[1]
    where = ["--datasets", "mvtec", "--backbone", "tiny:random", "--dry-run", "--results", tmp_path / "r"]
    code, out, _ = bench("ablate", "shout", "--plugin", path, *where)
    assert (code, out.count("to do  shout--mvtec")) == (0, 2)


def test_options_that_are_no_dataclass_are_named(file: Callable[[str], Path], bench: Bench) -> None:
    path = file(f"{METHOD}    class Options:\n        loud = True\n")
    for command in (["methods"], ["run", "--methods", "shout", "--set", "shout.loud=false"]):
        code, _, err = bench(*command, "--plugin", path)
        assert code == 2
        assert "bench: shout: Options is no dataclass; `bench check-method shout` tells more" in err


def test_options_whose_types_cannot_be_read_are_named(file: Callable[[str], Path], bench: Bench) -> None:
    options = "    @dataclass(frozen=True)\n    class Options:\n        how: 'Loudness' = None\n"
    path = file("from dataclasses import dataclass\n" + METHOD + options)
    code, _, err = bench("run", "--methods", "shout", "--plugin", path)
    assert code == 2
    assert "the types of the options of shout cannot be read: " in err


def test_what_is_no_python_file_is_refused(file: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"none\.py: no such file"):
        load_plugin(tmp_path / "none.py")
    with pytest.raises(RegistryError, match="no such file"):
        load_plugin(tmp_path)
    with pytest.raises(RegistryError, match=r"not a Python file"):
        load_plugin(file(METHOD, "shout.txt"))


def test_the_source_of_a_method_is_all_that_it_imports_of_the_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own_package"
    package.mkdir()
    files = {
        "__init__.py": "",
        "scores.py": "from own_package.deep import x\n",
        "deep.py": "x = 1\n",
        "apart.py": "y = 1\n",
        "mine.py": "from methods.clip import Clip\nfrom . import scores\n\nclass Mine(Clip):\n    name = 'mine'\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("own_package.apart")
    mine = importlib.import_module("own_package.mine").Mine

    def hashes() -> tuple[str | None, ...]:
        sources._FOUND.clear()
        return tuple(registry.source_sha256(method) for method in (mine, Clip, CoOp))

    before = hashes()
    assert len(set(before)) == 3
    for name, seen in {"mine.py": True, "scores.py": True, "deep.py": True, "apart.py": False}.items():
        (package / name).write_text(files[name] + "# edited\n")
        after = hashes()
        assert (after[0] != before[0], after[1:]) == (seen, before[1:]), name
        (package / name).write_bytes(files[name].replace("\n", "\r\n").encode())
        assert hashes() == before, name
    (package / "mine.py").unlink()
    assert hashes()[0] is None


def test_the_source_of_a_plugin_has_what_lies_beside_it_however_it_is_imported(tmp_path: Path) -> None:
    files = {
        "mine.py": "from methods.clip import Clip\nimport near\n\nclass Mine(Clip):\n    name = 'mine'\n\n"
        "    def predict(self, features, class_names):\n        from late import deep\n",
        "near.py": "import far\n",
        "far.py": "x = 1\n",
        "late/__init__.py": "",
        "late/deep.py": "from . import deeper\n",
        "late/deeper.py": "",
        "apart.py": "y = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        (mine,) = load_plugin(tmp_path / "mine.py")

    def now() -> str | None:
        sources._FOUND.clear()
        return registry.source_sha256(mine)

    before = now()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "# edited\n")
        assert (now() != before) == (name != "apart.py"), name
        (tmp_path / name).write_text(text)
    assert now() == before


def test_two_plugins_must_not_share_a_name(file: Callable[..., Path]) -> None:
    load_plugin(file(METHOD))
    with pytest.raises(RegistryError, match=r"other\.py: Shout is named 'shout', as Shout of .*shout\.py is"):
        load_plugin(file(METHOD, "other.py"))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package that registers one method under an entry point."""

    def made(value: str) -> None:
        metadata = tmp_path / "site/shout-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shout\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\nshout = {value}\n")
        (tmp_path / "site/shout_package.py").write_text(METHOD)
        monkeypatch.syspath_prepend(tmp_path / "site")
        registry.installed_methods.cache_clear()

    yield made
    registry.installed_methods.cache_clear()


def test_methods_of_other_packages_register_by_entry_point(install: Callable[[str], None]) -> None:
    install("shout_package:Shout")
    assert all_methods()["shout"].title == "Shout"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_package:Shout", r"entry point shout of .* cannot be loaded: ModuleNotFoundError"),
        ("json:loads", r"entry point shout of zsad_bench\.methods \(json:loads\) is no benchmark Method"),
        ("methods.clip:Clip", r"entry point shout .*named 'clip'"),
    ],
)
def test_a_wrong_entry_point_is_named(install: Callable[[str], None], value: str, said: str) -> None:
    install(value)
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


def test_epochs_may_be_left_to_the_stages_of_a_training() -> None:
    """As those of APRIL-GAN are, which depend on the auxiliary dataset."""
    assert make_options(AprilGan, {}).epochs is None
    assert make_options(AprilGan, {"epochs": "null"}).epochs is None
    assert make_options(AprilGan, {"epochs": "0"}).epochs == 0
    with pytest.raises(RegistryError, match=r"option april_gan\.epochs: must be 0 or more, not -1"):
        make_options(AprilGan, {"epochs": "-1"})
