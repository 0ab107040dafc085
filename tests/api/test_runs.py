"""`benchmark.run` beside `bench run`: the same records, classes from cells, and what is refused."""

import dataclasses
import inspect
import json
import random
import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.cells import Notebook, notebook

import benchmark as zb
from benchmark.api.requests import Computation
from benchmark.data.folders import PlainFolder
from benchmark.errors import BenchError
from benchmark.records.records import Record
from benchmark.registry.sources import look_again, source_sha256
from methods.clip import Clip, ClipAC

Bench = Callable[..., tuple[int, str, str]]
TINY: dict[str, Any] = {"backbone": "tiny:random", "device": "cpu", "workers": 0}
SHOUT = """
from methods.clip import Clip
from benchmark.contract import Prediction

{constant}

def louder(scores):
    return scores * LOUDNESS

class Shout(Clip):
    name = "shout"
    title = "Shout"
    paper = "none"

    def predict(self, features, class_names):
        found = super().predict(features, class_names)
        return Prediction(scores=louder(found.scores), maps=found.maps)
"""


@pytest.fixture
def cells() -> Iterator[Notebook]:
    with notebook() as made:
        yield made


def shout(loudness: float) -> str:
    return SHOUT.format(constant=f"LOUDNESS = {loudness}")


def without_times(record: Record) -> dict[str, Any]:
    """A record without what differs from call to call."""
    known = json.loads(record.model_dump_json())
    for run in (known["run"], *(each["run"] for each in known["classes"].values())):
        for name in ("created", "seconds", "peak_memory"):
            run[name] = None
    return known


def test_records_are_those_of_the_command(bench: Bench, small_suite: Path, tmp_path: Path) -> None:
    code, _, _ = bench(
        "run", "--methods", "clip", "--datasets", "mvtec", "--limit", 2, "--classes", "grid", "--set",
        "clip.temperature=0.02", "--evaluation-size", 32, "--backbone", "tiny:random", "--device", "cpu", "--workers",
        0, "--results", tmp_path / "command",
    )  # fmt: skip
    assert code == 0
    mine = zb.run(
        "clip",
        "mvtec",
        limit=2,
        classes="grid",
        options={"clip": {"temperature": 0.02}, "protocol": {"evaluation_size": 32}},
        results=tmp_path / "python",
        **TINY,
    )
    theirs = zb.load_results(tmp_path / "command")
    assert list(map(without_times, mine)) == list(map(without_times, theirs))
    assert len(mine) == 1
    assert [path.name for path in (tmp_path / "python/records").glob("*.json")] == [f"{mine.records[0].id}.json"]


def test_folders_of_ones_own_are_run(parts: Path, tmp_path: Path) -> None:
    found = zb.run(
        ["clip"], folders={"nuts": PlainFolder(directory=parts, class_name="metal nut")}, results=tmp_path / "r", **TINY
    )
    (record,) = found
    assert (record.dataset_title, record.prompts) == ("nuts", {"object": "metal nut"}) or record.prompts
    assert found.table("auroc").frame.loc["nuts", ("CLIP", "AUROC")] == pytest.approx(
        100 * (record.mean["image_auroc"] or 0)
    )


# ---- classes that a cell defines


def test_a_class_of_a_cell_is_run_and_known_by_its_name(cells: Notebook, parts: Path, tmp_path: Path) -> None:
    mine = cells.run(shout(-1.0))["Shout"]
    both = zb.run(["clip", mine], folders={"nuts": parts}, results=tmp_path, **TINY)
    clip, loud = both
    assert [loud.cell.method, loud.status] == ["shout", "done"]
    assert loud.mean["image_auroc"] == pytest.approx(1 - (clip.mean["image_auroc"] or 0))
    assert loud.mean["pixel_auroc"] == clip.mean["pixel_auroc"]
    assert loud.run.source_sha256 == source_sha256(mine)
    assert list(both.table("auroc").frame.columns) == [("CLIP", "AUROC"), ("Shout", "AUROC")]
    again = zb.run("shout", folders={"nuts": parts}, results=tmp_path, **TINY)
    assert again.records == (loud,)


def test_an_edited_class_is_never_given_the_results_of_before(
    cells: Notebook, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def auroc() -> float:
        (record,) = zb.run(cells.run("x = 1")["Shout"], folders={"nuts": parts}, results=tmp_path, **TINY)
        return record.mean["image_auroc"] or 0.0

    cells.run(shout(1.0))
    before = auroc()
    cells.run(shout(1.0))  # the cell again as it is
    assert auroc() == before
    assert "was edited" not in capsys.readouterr().err
    cells.run(shout(-1.0))  # a constant that the class names by way of a function
    assert auroc() == pytest.approx(1 - before)
    assert "Shout was edited: 1 result of before will be made anew" in capsys.readouterr().err
    assert len(list((tmp_path / "records").glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        (shout(1.0), False),
        (shout(2.0), True),
        (shout(1.0).replace("scores * LOUDNESS", "LOUDNESS * scores"), True),
        (shout(1.0) + "\nprint\n", False),
        (shout(1.0).replace('title = "Shout"', 'title = "Shout!"'), True),
    ],
)
def test_what_a_class_names_is_part_of_its_source(cells: Notebook, cell: str, changes: bool) -> None:
    before = source_sha256(cells.run(shout(1.0))["Shout"])
    assert before is not None
    assert (source_sha256(cells.run(cell)["Shout"]) != before) == changes


NAMES = """
import dataclasses, functools
import numpy as np
import torch
from methods.clip import Clip

@dataclasses.dataclass(frozen=True)
class Holder:
    values: tuple = ({x}, "a")

def times(k):
    def inner(value):
        return value * k
    return inner

def plain(value, factor={x}):
    return value * factor

ARRAY = np.full(2000, {x})
TENSOR = torch.full((2000,), {x}, dtype=torch.bfloat16)
NAMED = {{"f": functools.partial(plain, factor={x}), "s": frozenset({{"a", "b", {x}}})}}
HOLDER = Holder()
CACHED = functools.cache(plain)
CLOSED = times({x})
LONG = [*range(2000), {x}]

class Names(Clip):
    name = "names"
    title = "Names"
    paper = "none"

    def predict(self, features, class_names):
        return {name}
"""


@pytest.mark.parametrize("name", ["ARRAY", "TENSOR", "NAMED", "HOLDER", "CACHED", "CLOSED", "LONG", "plain", "times"])
def test_values_of_all_kinds_that_a_class_names_are_part_of_its_source(cells: Notebook, name: str) -> None:
    def sha256(x: float) -> str | None:
        look_again()
        return source_sha256(cells.run(NAMES.format(name=name, x=x))["Names"])

    first = sha256(1.0)
    assert first is not None
    assert sha256(1.0) == first
    assert (sha256(2.0) != first) == (name != "times")  # which is the same whatever it is called with


def test_what_is_changed_without_the_class_is_noticed(cells: Notebook) -> None:
    there = cells.run(NAMES.format(name="(CLOSED, plain)", x=1.0))
    mine = there["Names"]
    seen = [source_sha256(mine)]

    def look() -> str | None:
        look_again()
        return source_sha256(mine)

    assert look() == seen[0]
    cells.run("def plain(value):\n    return -value")
    seen.append(look())
    cells.run("CLOSED = times(3)")
    seen.append(look())
    cells.run("Names.factor = 3")
    seen.append(look())
    cells.run("def other(self, features, class_names):\n    return 0\n\nNames.predict = other")
    seen.append(look())
    assert len(set(seen)) == len(seen)
    assert None not in seen


def test_a_value_that_cannot_be_compared_never_passes_for_that_of_before(
    cells: Notebook, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = shout(1.0).replace("LOUDNESS = 1.0", "import threading\nLOUDNESS = 1.0\nLOCK = threading.Lock()")
    mine = cells.run(cell.replace("found = super", "assert LOCK; found = super"))["Shout"]
    (first,) = zb.run(mine, folders={"nuts": parts}, results=tmp_path, **TINY)
    (second,) = zb.run(mine, folders={"nuts": parts}, results=tmp_path, **TINY)
    assert first.run.source_sha256 != second.run.source_sha256
    assert "Shout: whether LOCK changed is not known, so 1 result of before" in capsys.readouterr().err


def test_an_edited_helper_alone_makes_results_anew(cells: Notebook, parts: Path, tmp_path: Path) -> None:
    mine = cells.run(shout(1.0))["Shout"]
    (before,) = zb.run(mine, folders={"nuts": parts}, results=tmp_path, **TINY)
    cells.run("def louder(scores):\n    return -scores")
    for asked in (mine, "shout"):
        (after,) = zb.run(asked, folders={"nuts": parts}, results=tmp_path, **TINY)
        assert after.mean["image_auroc"] == pytest.approx(1 - (before.mean["image_auroc"] or 0))


@pytest.mark.parametrize("name", ["A B", "", "a/b", "a.b", "x" * 300, "protocol"])
def test_a_name_that_no_file_and_no_option_can_have_is_refused(cells: Notebook, tmp_path: Path, name: str) -> None:
    mine = cells.run(shout(1.0).replace('name = "shout"', f"name = {name!r}"))["Shout"]
    with pytest.raises(BenchError, match="Shout has the name"):
        zb.run(mine, results=tmp_path)


def test_a_title_that_another_method_has_is_refused(cells: Notebook, tmp_path: Path) -> None:
    mine = cells.run(shout(1.0).replace('title = "Shout"', 'title = "CLIP"'))["Shout"]
    with pytest.raises(BenchError, match="Shout has the title 'CLIP', as Clip of"):
        zb.run(mine, results=tmp_path)


def test_two_classes_of_one_name_are_refused(cells: Notebook, tmp_path: Path) -> None:
    first, second = cells.run(shout(1.0))["Shout"], cells.run(shout(2.0))["Shout"]
    with pytest.raises(BenchError, match="two of these classes are named 'shout'"):
        zb.run([first, second], results=tmp_path)


def test_what_is_typed_after_a_script_is_not_taken_for_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    main.__file__ = __file__
    monkeypatch.setitem(sys.modules, "__main__", main)
    before = source_sha256(Notebook(main).run(shout(1.0))["Shout"])
    assert before is not None
    assert source_sha256(Notebook(main).run(shout(2.0))["Shout"]) != before


def test_a_class_takes_the_name_of_no_other_method(cells: Notebook, tmp_path: Path) -> None:
    mine = cells.run(shout(1.0).replace('name = "shout"', 'name = "clip"'))["Shout"]
    with pytest.raises(BenchError, match=r"is named 'clip', as Clip of .*clip.py is; give it a name of its own"):
        zb.run(mine, results=tmp_path)
    with pytest.raises(BenchError, match="is no whole method: it does not define predict, vision"):
        zb.run(zb.Method, results=tmp_path)
    with pytest.raises(BenchError, match="no subclass"):
        zb.run([dict], results=tmp_path)  # type: ignore[list-item]


def test_an_installed_class_stands_for_its_name(parts: Path, tmp_path: Path) -> None:
    from benchmark.registry.registered import GIVEN

    (record,) = zb.run(Clip, folders={"nuts": parts}, results=tmp_path, **TINY)
    assert record.cell.method == "clip"
    assert "clip" not in GIVEN


@pytest.mark.parametrize("how", [{"processes": 2}, {"executor": "ray"}, {"cell_timeout": 60.0}])
def test_a_class_of_a_cell_is_not_asked_of_other_processes(
    cells: Notebook, how: dict[str, Any], tmp_path: Path
) -> None:
    mine = cells.run(shout(1.0))["Shout"]
    with pytest.raises(BenchError, match=r"Shout: other processes do not know .*load_plugin"):
        zb.run(mine, results=tmp_path, **how)


def test_a_class_that_nothing_keeps_is_refused(cells: Notebook, tmp_path: Path) -> None:
    import linecache

    mine = cells.run(shout(1.0).replace("class Shout", "class Unkept"))["Unkept"]
    for name in [name for name in linecache.cache if name.startswith("<ipython")]:
        del linecache.cache[name]
    with pytest.raises(BenchError, match="Unkept: its definition is kept nowhere"):
        zb.run(mine, results=tmp_path)


def test_a_plugin_takes_the_place_of_the_class_it_was(cells: Notebook, no_plugins: None, tmp_path: Path) -> None:
    from benchmark.registry.registered import GIVEN, all_methods, register

    register(cells.run(shout(1.0))["Shout"])
    (tmp_path / "shout.py").write_text(shout(1.0))
    (method,) = zb.load_plugin(str(tmp_path / "shout.py"))
    assert all_methods()["shout"] is method
    assert "shout" not in GIVEN


# ---- what cannot be run


def test_a_cell_that_fails_leaves_the_others(cells: Notebook, parts: Path, tmp_path: Path) -> None:
    mine = cells.run(shout(1.0).replace("return scores * LOUDNESS", "raise RuntimeError('<b>no</b>')"))["Shout"]
    found = zb.run(["clip", mine], folders={"nuts": parts}, results=tmp_path, **TINY)
    (failed,) = found.failed
    assert (len(found), failed.cell.method) == (2, "shout")
    assert "<b>no</b>" in str(failed.error)
    assert "&lt;b&gt;no&lt;/b&gt;" in found._repr_html_()
    assert "<b>no</b>" not in found._repr_html_()
    assert "1 failed" in repr(found)


def test_what_is_not_there_is_a_problem_and_the_rest_is_run(small_suite: Path, tmp_path: Path) -> None:
    found = zb.run("clip", ["mvtec", "visa"], data=small_suite, limit=1, classes="grid", results=tmp_path, **TINY)
    assert len(found) == 1
    assert len(found.problems) == 1
    assert "visa" in found.problems[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "say what to run"),
        ({"methods": "clib"}, "unknown method 'clib'; did you mean clip"),
        ({"methods": "clip", "datasets": "mvtek"}, "did you mean mvtec"),
        ({"methods": "clip", "options": {"clip": {"temprature": 1}}}, "did you mean temperature"),
        ({"methods": "clip", "options": {"coop": {"epochs": 1}}}, "runs clip, not coop"),
        ({"methods": "clip", "options": {"protocol": {"evaluation_size": 1}}}, "evaluation_size"),
        ({"methods": "clip", "batch_size": 0}, "^batch_size=0: say a number of 1 or more"),
        ({"methods": "clip", "cache_limit": float("inf")}, "^cache_limit=inf: say a number of 0 or more"),
        ({"methods": "clip", "cell_timeout": float("nan")}, "^cell_timeout=nan"),
        ({"methods": "clip", "ray_address": "auto"}, "ray_address='auto' is for the executor ray, not local"),
        ({"methods": "clip", "slurm": {"partition": "gpu"}}, "slurm=.*is for the executor slurm, not local"),
        ({"methods": "clip", "datasets": "mvtec", "limit": -3}, "limit=-3: say a whole number from 1 on"),
        ({"methods": "clip", "datasets": "mvtec", "limit": 0}, "limit=0: say a whole number from 1 on"),
        ({"methods": "clip", "datasets": "mvtec", "limit": 2.5}, "limit=2.5: say a whole number from 1 on"),
        ({"methods": "clip", "folders": "./nuts"}, "folders='./nuts': say a mapping, as in folders={'nuts'"),
        ({"methods": "clip", "paths": ["/x"]}, "paths=.*: say a mapping"),
        ({"methods": "clip", "paths": {"visaa": "/x"}}, "unknown dataset 'visaa'; did you mean visa"),
        ({"methods": "clip", "paths": {"visa": 3}}, r"paths\['visa'\]: 3 is no path"),
        ({"methods": "clip", "options": "temperature"}, "options='temperature': say a mapping"),
        ({"methods": "clip", "options": {"clip": 3}}, "options of clip: say a mapping"),
        ({"methods": 3}, "3 is no method; give a name or a class"),
        ({"methods": Path("my.py")}, "is no method; .*load_plugin"),
        ({"methods": "clip", "datasets": [3]}, r"datasets=\[3\]: say a name"),
        ({"methods": "clip", "datasets": 3}, "datasets=3: say a name"),
        ({"methods": "clip", "protocol": None}, "protocol=None: say a name"),
        ({"methods": "clip", "seeds": None}, "whole numbers from 0 on"),
        ({"methods": "clip", "seeds": 2**70}, "whole numbers from 0 on"),
        ({"methods": "clip", "checkpoints": 3}, "checkpoints: 3 is no path"),
        ({"methods": "clip", "folders": {"a": None}}, r"folders\['a'\]: None is no path"),
        ({"methods": "clip", "data": ""}, "data: '' is no path"),
        ({"methods": "clip", "data": "~nobody-of-that-name/x"}, "data: ~nobody-of-that-name/x"),
        ({"methods": "clip", "dtype": "float8"}, "dtype"),
        ({"methods": "clip", "seeds": [0, -1]}, "whole numbers from 0 on"),
        ({"methods": "clip", "seeds": []}, "whole numbers from 0 on"),
        ({"methods": "clip", "seeds": [0.5]}, "whole numbers from 0 on"),
        ({"methods": "clip", "seeds": True}, "whole numbers from 0 on"),
        ({"methods": "clip", "seeds": 10**30}, "whole numbers from 0 on"),
        ({"methods": "clip", "auxiliary": "visa", "protocol": "visa"}, "leave one out"),
    ],
)
def test_mistakes_are_answered_with_the_way_out(asked: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=said):
        zb.run(results=tmp_path, **asked)
    assert not (tmp_path / "records").exists()


def test_a_run_leaves_random_numbers_and_threads_as_they_are(parts: Path, tmp_path: Path) -> None:
    def drawn() -> tuple[float, ...]:
        return (random.random(), float(torch.rand(1)))

    random.seed(0)
    torch.manual_seed(0)
    expected, threads = drawn(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    random.seed(0)
    torch.manual_seed(0)
    zb.run("coop", folders={"nuts": parts, "more": parts}, auxiliary="more", allow_overlap=True,
           options={"coop": {"epochs": 1}}, results=tmp_path, **TINY)  # fmt: skip
    try:
        assert torch.get_num_threads() == threads + 1
        assert drawn() == expected
    finally:
        torch.set_num_threads(threads)


def test_a_keyword_that_is_none_is_an_error_of_python(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="batchsize"):
        zb.run("clip", batchsize=1, results=tmp_path)  # type: ignore[call-arg]


def test_every_field_of_the_computation_is_a_keyword_with_its_default() -> None:
    keywords = inspect.signature(zb.run).parameters
    for each in dataclasses.fields(Computation):
        assert each.name in keywords
        if each.name not in ("results", "slurm"):  # of the environment, and of a factory
            assert keywords[each.name].default == each.default, each.name


def test_the_home_folder_is_expanded_in_all_paths(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    shutil.copytree(parts, tmp_path / "nuts")
    nuts = PlainFolder(directory="~/nuts", normal="normal")  # type: ignore[arg-type]
    found = zb.run("clip", folders={"nuts": nuts}, results="~/results", **TINY)
    assert found.path == tmp_path / "results"
    assert len(found) == 1
    with pytest.raises(BenchError, match=re.escape(str(tmp_path / "none.json"))):
        zb.run("coop", folders={"nuts": "~/nuts"}, checkpoints="~/none.json", **TINY)


def test_what_is_not_there_is_said_by_the_error_too(small_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"^nothing to run on\nvisa: no folder in"):
        zb.run("clip", "visa", data=small_suite, results=tmp_path, **TINY)


def test_the_folders_of_the_environment_count_where_none_is_given(
    small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(small_suite))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "mine"))
    found = zb.run("clip", "mvtec", limit=1, classes="grid", **TINY)
    assert found.path == tmp_path / "mine"
    assert zb.load_results().records == found.records


def test_an_interrupted_run_keeps_what_is_finished(
    small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"data": small_suite, "limit": 1, "results": tmp_path, **TINY}
    zb.run("clip", "mvtec", **asked)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ClipAC, "prompts", stop)
    with pytest.raises(KeyboardInterrupt, match="1 of 2 cells have results"):
        zb.run(["clip", "clip_ac"], "mvtec", **asked)
    assert len(zb.load_results(tmp_path)) == 1


LEARNS = """
from methods.coop import CoOp

class Mine(CoOp):
    name = "mine"
    title = "Mine"
    paper = "none"

    def losses(self, batch):
        return {{name: {factor} * value for name, value in super().losses(batch).items()}}
"""


def test_what_an_edited_class_learned_is_learned_anew(cells: Notebook, parts: Path, tmp_path: Path) -> None:
    others = shutil.copytree(parts, tmp_path / "others")

    def trained(factor: float) -> tuple[str, str | None]:
        mine = cells.run(LEARNS.format(factor=factor))["Mine"]
        (record,) = zb.run(
            mine,
            "nuts",
            folders={"nuts": parts, "others": others},
            auxiliary="others",
            allow_overlap=True,
            options={"mine": {"epochs": 1}},
            results=tmp_path / "results",
            **TINY,
        )
        assert record.training is not None
        assert record.training.made is not None
        assert record.training.made.source_sha256 == record.run.source_sha256 == source_sha256(mine)
        return record.training.sha256, record.training.made.created

    first = trained(1.0)
    assert trained(1.0) == first
    assert trained(-1.0)[0] != first[0]
