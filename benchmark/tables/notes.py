"""Notes of tables: what a reader must know of the columns, the data and the protocol."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmark.metrics import MAIN_METRICS
from benchmark.records import Record, undefined_notes
from benchmark.tables.columns import Column, trained_on

SYNTHETIC = "SYNTHETIC"


def notes_of(records: Sequence[Record], metrics: Sequence[str] = MAIN_METRICS) -> tuple[str, ...]:
    """Return what a reader of the tables must know, the banner of synthetic results first.

    Args:
        records: of the table.
        metrics: keys of the metrics that the tables show.
    """
    done = [record for record in records if record.status == "done"]
    notes = [*_banner(done), *_backbones(done), *_sizes(done), *_seeds(done), *_trainings(done)]
    notes += [*whole_class_notes(done), *_magnifying(done), *_aupro(metrics)]
    if done:
        default = type(done[0].cell.protocol)()
        quirks = [f"{k} = {v}" for k, v in done[0].cell.protocol if v != getattr(default, k)]
        notes += [f"Protocol quirks: {', '.join(quirks)}."] if quirks else []
    notes += _beyond(done)
    notes += [*_stale(done), *_states(done), *code_notes(done), *_left_out_of_trainings(done)]
    for record in records:
        if record.status == "failed":
            notes.append(f"Failed: {record.title} on {record.dataset_title}: {record.error}")
    by_dataset: dict[str, list[Record]] = defaultdict(list)
    for record in done:
        by_dataset[record.dataset_title].append(record)
    for dataset, same in by_dataset.items():
        for warning in dict.fromkeys(warning for record in same for warning in record.warnings):
            titles = {record.title for record in same if warning in record.warnings}
            of = "" if titles == {record.title for record in same} else f" ({_listed(titles)})"
            notes.append(f"{dataset}: {warning}{of}")
        for note in dict.fromkeys(note for record in same for note in undefined_notes(record)):
            notes.append(f"{dataset}: {note}")
        skipped = max(sum(len(c.skipped) for c in record.classes.values()) for record in same)
        notes += [f"{dataset}: images left out, as they or their masks cannot be used: {skipped}."] if skipped else []
    return tuple(notes)


def column_facts(records: Sequence[Record], columns: Sequence[Column]) -> dict[str, tuple[str, ...]]:
    """Return what tells the columns apart: under the name of a fact, its value for each column, "–" where unknown."""
    by_title: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "done":
            by_title[record.title].append(record)
    titles = [column.title for column in columns]
    sizes = [sorted({size for r in by_title[title] if (size := evaluation_size(r))}) for title in titles]
    trained = [
        dict.fromkeys(
            trained_on(record) + ("" if (source := _source(record)) == "here" else f" ({source})")
            for record in sorted(by_title[title], key=lambda record: record.id)
            if record.cell.auxiliary
        )
        for title in titles
    ]
    facts = {
        "year": tuple("–" if column.year is None else str(column.year) for column in columns),
        "evaluated at": tuple(", ".join(f"{size} px" for size in of_title) or "–" for of_title in sizes),
        "seeds": tuple(_seed_count(by_title[title]) for title in titles),
        "trained on": tuple(", ".join(of_title) or "–" for of_title in trained),
    }
    return {name: values for name, values in facts.items() if set(values) != {"–"}}


def is_banner(note: str) -> bool:
    """Say whether a note is the banner of synthetic results."""
    return note.startswith(SYNTHETIC)


def evaluation_size(record: Record) -> int | None:
    """Return the side in pixels of the maps and masks that were compared; None where the record does not say it."""
    return record.cell.protocol.evaluation_size or record.image_size


def _banner(done: Sequence[Record]) -> list[str]:
    notes = []
    for what in sorted({record.synthetic for record in done if record.synthetic}):
        kind = "MINIATURE" if "data" in what else "WEIGHTS"
        notes.append(f"{SYNTHETIC} {kind}: not comparable with published numbers (generated: {', '.join(what)}).")
    return notes


def _beyond(done: Sequence[Record]) -> list[str]:
    titles = {record.dataset_title for record in done if record.beyond}
    return [f"Beyond the papers' datasets, so in no mean and no rank with them: {_listed(titles)}."] if titles else []


def _backbones(done: Sequence[Record]) -> list[str]:
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for record in done:
        known = record.cell.backbone
        found[known.title, known.sha256, known.dtype].add(record.title)
    return [
        f"Backbone {name} (sha256 {sha256[:12]}…), {dtype}" + (f": {_listed(titles)}." if len(found) > 1 else ".")
        for (name, sha256, dtype), titles in sorted(found.items())
    ]


def _sizes(done: Sequence[Record]) -> list[str]:
    found: dict[int, set[str]] = defaultdict(set)
    for record in done:
        if (size := evaluation_size(record)) is not None:
            found[size].add(record.title)
    each = [
        f"{size} px" + (f" ({_listed(titles)})" if len(found) > 1 else "")
        for size, titles in sorted(found.items(), reverse=True)
    ]
    return [f"Maps and masks are compared at {', '.join(each)}."] if each else []


def _seeds(done: Sequence[Record]) -> list[str]:
    by_title: dict[str, list[Record]] = defaultdict(list)
    for record in done:
        by_title[record.title].append(record)
    found: dict[str, set[str]] = defaultdict(set)
    for title, same in by_title.items():
        found[_seed_count(same)].add(title)
    if set(found) <= {"1"}:
        return ["One seed per method."] if found else []
    each = [f"{count} ({_listed(titles)})" for count, titles in sorted(found.items(), key=_count, reverse=True)]
    return [f"Seeds: {', '.join(each)}; ± is the standard deviation over seeds."]


def _count(found: tuple[str, set[str]]) -> int:
    return int(found[0].split()[0])


def _seed_count(same: Sequence[Record]) -> str:
    """Return under how many seeds a method was run, as `3` or, where datasets differ, as `1 to 3`."""
    by_dataset: dict[str, set[int]] = defaultdict(set)
    for record in same:
        by_dataset[record.dataset_title].add(record.cell.seed)
    numbers = {len(seeds) for seeds in by_dataset.values()}
    if not numbers:
        return "–"
    return str(max(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _trainings(done: Sequence[Record]) -> list[str]:
    trained: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for record in done:
        if record.cell.auxiliary is not None:
            trained[trained_on(record), _origin(record), record.title].add(record.dataset_title)
    alike: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (auxiliary, origin, title), targets in sorted(trained.items()):
        alike[auxiliary, origin, ", ".join(sorted(targets))].append(title)
    notes = [
        f"Auxiliary dataset of {', '.join(titles)}{origin}: {name} (for {targets})."
        for (name, origin, targets), titles in alike.items()
    ]
    return notes or ["Auxiliary dataset: none; no method here trains."]


def _source(record: Record) -> str:
    """Return whether a training was done `here`, or its checkpoint was `imported` or `given`."""
    if record.training is not None and record.training.origin == "imported":
        return "imported"
    return "given" if record.cell.checkpoint else "here"


def _origin(record: Record) -> str:
    """Return in words where a training was done."""
    if record.training is None:
        return ""
    words = {"here": "trained here", "given": "from a checkpoint that was given"}
    return f", {words.get(_source(record), f'imported from {record.training.source}')}"


def _stale(done: Sequence[Record]) -> list[str]:
    """Return a line for each method whose files were edited since it was trained or scored."""
    stale: dict[str, set[str]] = defaultdict(set)
    for record in done:
        if record.newer_source_sha256:
            stale[record.title].add(record.dataset_title)
    return [
        f"{title} on {', '.join(sorted(datasets))}: made before the method's files were edited (--force makes it anew)."
        for title, datasets in sorted(stale.items())
    ]


def whole_class_notes(done: Iterable[Record]) -> list[str]:
    """Return a line that names the methods whose image scores depend on all test images of a class."""
    titles = {record.title for record in done if record.scores_whole_class}
    return [f"Image scores of {_listed(titles)} depend on all test images of a class."] if titles else []


def _magnifying(done: Iterable[Record]) -> list[str]:
    """Return a line that names the methods whose training another machine does not repeat."""
    titles = {record.title for record in done if record.training and record.training.magnifies}
    note = f"Training of {_listed(titles)} magnifies last digits: another machine learns something else."
    return [note] if titles else []


def _aupro(metrics: Sequence[str]) -> list[str]:
    """Return what the AUPROs that are shown are, and where the other one is."""
    shown = [name for name in ("pixel_aupro", "pixel_aupro_200") if name in metrics]
    exact = "AUPRO is exact (all thresholds, 8-connected regions, FPR ≤ 0.3)"
    steps = (
        "AUPRO-200 is that of 200 thresholds between the lowest and the highest score, with the rates below 0.3 "
        "rescaled to [0, 1]"
    )
    if shown == ["pixel_aupro"]:
        return [f"{exact}; AUPRO-200 is in results.csv."]
    if shown == ["pixel_aupro_200"]:
        return [f"{steps}; the exact AUPRO is in results.csv."]
    return [f"{exact}.", f"{steps}."] if shown else []


def _states(done: Sequence[Record]) -> list[str]:
    """Return a line for each method that several states of its files scored or trained; `_stale` names older ones."""
    notes = []
    by_title: dict[str, list[Record]] = defaultdict(list)
    for record in done:
        if not record.newer_source_sha256:
            by_title[record.title].append(record)
    for title, same in sorted(by_title.items()):
        scored = [(record, record.run.source_sha256) for record in same]
        trained = [
            (record, record.training.made.source_sha256) for record in same if record.training and record.training.made
        ]
        for what, pairs in (("scored", scored), ("trained", trained)):
            found: dict[str, set[str]] = defaultdict(set)
            for record, sha256 in pairs:
                if sha256:
                    found[", ".join(f"{each[:8]}…" for each in sha256.split(", "))].add(record.dataset_title)
            if len(found) > 1:
                each = [f"{state} ({_listed(datasets)})" for state, datasets in sorted(found.items())]
                notes.append(f"{title} was {what} by {len(found)} states of the method's files: {', '.join(each)}.")
    return notes


def code_notes(done: Sequence[Record]) -> list[str]:
    """Return lines that say where several states of the benchmark's code, or versions of a package, were at work."""
    states = {each for record in done for each in (record.run.code_sha256 or "").split(", ") if each}
    notes = [f"Made by {len(states)} states of the benchmark's code."] if len(states) > 1 else []
    for package in sorted({name for record in done for name in record.run.packages}):
        found: dict[str, list[Record]] = defaultdict(list)
        for record in done:
            if version := record.run.packages.get(package):
                found[version].append(record)
        if len(found) > 1:
            each = [f"{version} ({_who(of_version, done)})" for version, of_version in sorted(found.items())]
            notes.append(f"Made with {package} {' and '.join(each)}.")
    return notes


def _who(some: Sequence[Record], done: Sequence[Record]) -> str:
    """Return the methods of some records, with their datasets where not all records of a method are among them."""
    names = []
    for title in sorted({record.title for record in some}):
        mine = [record.dataset_title for record in some if record.title == title]
        whole = len(mine) == sum(record.title == title for record in done)
        names.append(title if whole else f"{title} on {_listed(set(mine))}")
    return "; ".join(names)


def _left_out_of_trainings(done: Sequence[Record]) -> list[str]:
    found: dict[tuple[str, str], int] = {}
    for record in done:
        if record.training is not None and record.cell.auxiliary is not None and record.training.skipped:
            key = record.title, record.cell.auxiliary.name
            found[key] = max(found.get(key, 0), len(record.training.skipped))
    return [
        f"{title}: images left out of the training on {auxiliary}, as they or their masks cannot be used: {count}."
        for (title, auxiliary), count in sorted(found.items())
    ]


def _listed(titles: Iterable[str]) -> str:
    return ", ".join(sorted(titles))
