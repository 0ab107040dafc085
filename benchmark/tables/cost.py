"""What methods cost, as papers print it: parameters, time per image, memory, and the time of a training."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.common import to_csv_text
from benchmark.records import Provenance, Record, Run
from benchmark.tables.columns import places_of
from benchmark.tables.comparable import main_records
from benchmark.tables.marks import Mark, lowest_and_second
from benchmark.tables.notes import code_notes, is_banner, notes_of
from benchmark.tables.style import BY_NUMBERS, STYLES, grid

UNKNOWN = "–"
COST_NAMES = ("cost", "cost_training")
"""Stems of the files. They hold times, which differ from run to run; all other tables hold none."""
TIME_PARTS = {"vision": "vision", "method": "method", "scoring": "metrics"}
"""Parts of the time of an image in tables, with their names in `Run.seconds`."""
_BOLD = f"Bold: the lowest of a column. Underlined: the second lowest, {BY_NUMBERS}."
MARKS = {"md": _BOLD, "tex": _BOLD, "txt": f"*: the lowest of a column, {BY_NUMBERS}."}
PARAMETERS_NOTE = (
    "Parameters are in millions: frozen ones are the backbone's, of both towers; learned ones are those that the "
    "method trained."
)
FITTED_NOTE = (
    "Fitted are the numbers, in millions, that a method keeps of its training images without training them, such as a "
    "memory of features; where it has several trainings, the most of them."
)
TIMES_NOTE = (
    "Times per image are the mean over all images; reading them is left out. Vision: forward pass of the tower, which "
    "methods of one run share. Method: from features to scores and maps on its grid. Scoring: resizing and smoothing "
    "of maps, metrics and results per image, in processor time; the others are wall times, which are longer where "
    "several processes compute on the machine side by side."
)
UNMEASURED = ("cpu", "mps")
"""Devices of which a record says the memory of the process; of a GPU that is measured it says model and memory."""
MEMORY = {True: "of the accelerator during a pass", False: "of the process, also of what it did before a pass"}


@dataclass(frozen=True)
class Cost:
    """What a method costs per image, in one place: a device with a number of processes, a batch size, a backbone and a
    size of the input."""

    title: str
    backbone: str
    dtype: str
    image_size: int | None
    device: str
    """The accelerator and the processor; the processor alone where there is no accelerator."""
    processes: int | None
    """Number of processes that computed on the machine side by side; None where records do not say it."""
    batch_size: int
    images: int
    """Number of images over which the times are means."""
    frozen: int | None
    """Number of parameters of the backbone; None where records do not say it, or not the same."""
    learned: int | None
    """Number of parameters that the method trained, in the same way."""
    fitted: int
    """Numbers that it keeps besides, as in `Parameters`: the most of all trainings."""
    milliseconds: Mapping[str, float | None]
    """Time per image of each of `TIME_PARTS`: processor time of the scoring, wall time of the others; None where a
    record does not say it."""
    own_pass: bool
    """Whether the method ran the tower itself, in the time of the method."""
    peak_memory: int | None
    """Bytes: the largest of all passes."""
    on_accelerator: bool
    """Whether the memory is the accelerator's; else it is the process's."""

    @property
    def inference(self) -> float | None:
        """Return the milliseconds from an image to its score and map."""
        vision, method = self.milliseconds["vision"], self.milliseconds["method"]
        return None if vision is None or method is None else vision + method


@dataclass(frozen=True)
class TrainingCost:
    """What the training of a method costs on an auxiliary dataset and a device."""

    title: str
    source: str
    """Title of the auxiliary dataset."""
    device: str
    images: int | None
    epochs: int
    trainings: int
    """Number of trainings, one for each seed, over which the time is a mean."""
    seconds: float


@dataclass(frozen=True)
class Entry:
    """A cell of a table of costs."""

    text: str
    value: float | None = None
    """The number by which a column is sorted; None for text and for what is unknown."""
    mark: Mark = ""


@dataclass(frozen=True)
class CostTable:
    """A table of costs, a row per method and place."""

    name: str
    """Stem of its files."""
    title: str
    header: tuple[str, ...]
    texts: int
    """Number of columns, from the left, that hold text and no numbers."""
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...]
    csv: str
    """All that is known, as CSV: a row per row of the table, in units that the header names."""


def costs(records: Iterable[Record], methods: Sequence[str] = ()) -> list[Cost]:
    """Return what methods cost per image, in the order of the columns of the main tables.

    The time of a part is its sum over all classes, datasets and seeds, by the number of images. Classes that were
    scored on different devices, beside different numbers of processes or with different batch sizes are never in one
    mean.

    Args:
        records: those of the main tables, in any order.
        methods: names of methods in their order, as in `make_tables`.
    """
    groups: dict[tuple[Hashable, ...], list[tuple[Record, Run, int]]] = defaultdict(list)
    for record in _in_order(records, methods):
        for run, images in _passes(record):
            backbone = record.cell.backbone
            place = _place(run), run.processes, run.batch_size, backbone.name, backbone.dtype, record.image_size
            groups[(record.title, *place)].append((record, run, images))
    return [_cost(same) for same in groups.values()]


def _in_order(records: Iterable[Record], methods: Sequence[str]) -> list[Record]:
    done = [record for record in records if record.status == "done"]
    place = places_of(done, methods)
    return sorted(done, key=lambda record: (place[record.title], record.id))


def _passes(record: Record) -> list[tuple[Run, int]]:
    """Return how each class of a record was scored, with its number of images; older records say it of all at once."""
    found = [(result.run, result.normal + result.anomalous) for result in record.classes.values()]
    known = [(run, images) for run, images in found if run is not None]
    return known if len(known) == len(found) else [(record.run, sum(images for _, images in found))]


def _place(where: Provenance) -> str:
    """Return the accelerator and the processor, on which there is work too, or the processor alone."""
    processor = where.processor or "unknown processor"
    return processor if where.device == "cpu" else f"{where.device} with {processor}"


def _cost(same: Sequence[tuple[Record, Run, int]]) -> Cost:
    record, run, _ = same[0]
    images = sum(count for *_, count in same)
    parameters = {(each.parameters.frozen, each.parameters.learned) for each, *_ in same if each.parameters is not None}
    frozen, learned = parameters.pop() if len(parameters) == 1 else (None, None)
    fitted = max((each.parameters.fitted for each, *_ in same if each.parameters is not None), default=0)
    milliseconds: dict[str, float | None] = {}
    for part, name in TIME_PARTS.items():
        known = [each.seconds[name] for _, each, _ in same if name in each.seconds]
        # Of several methods of one pass the sums are equal to the last digit, in whichever order they are added.
        milliseconds[part] = 1000 * math.fsum(known) / images if images and len(known) == len(same) else None
    return Cost(
        title=record.title,
        backbone=record.cell.backbone.title,
        dtype=record.cell.backbone.dtype,
        image_size=record.image_size,
        device=_place(run),
        processes=run.processes,
        batch_size=run.batch_size,
        images=images,
        frozen=frozen,
        learned=learned,
        fitted=fitted,
        milliseconds=milliseconds,
        own_pass=run.own_pass,
        peak_memory=max((each.peak_memory for _, each, _ in same if each.peak_memory is not None), default=None),
        on_accelerator=run.device not in UNMEASURED,
    )


def training_costs(records: Iterable[Record], methods: Sequence[str] = ()) -> list[TrainingCost]:
    """Return what trainings cost, those of methods in the order of the main tables; without imported checkpoints.

    Args:
        records: those of the main tables, in any order.
        methods: names of methods in their order, as in `make_tables`.
    """
    groups: dict[tuple[str, str, str], dict[str, TrainingCost]] = defaultdict(dict)
    for record in _in_order(records, methods):
        training = record.training
        if training is not None and training.made is not None and training.seconds is not None:
            made = TrainingCost(
                title=record.title,
                source=training.source,
                device=_place(training.made),
                images=training.images,
                epochs=len(training.curve),
                trainings=1,
                seconds=training.seconds,
            )
            groups[made.title, made.source, made.device][training.sha256] = made
    return [
        replace(
            next(iter(same.values())),
            trainings=len(same),
            seconds=math.fsum(each.seconds for each in same.values()) / len(same),
        )
        for same in groups.values()
    ]


def cost_tables(records: Sequence[Record], methods: Sequence[str] = ()) -> list[CostTable]:
    """Return the table of costs per image, and that of trainings if there are any, from the main records.

    Args:
        records: that count.
        methods: names of methods in their order, as in `make_tables`.
    """
    done = [record for record in main_records(records) if record.status == "done"]
    notes = [*(note for note in notes_of(done) if is_banner(note)), *code_notes(done)]
    found, trained = costs(done, methods), training_costs(done, methods)
    tables = [_table_of_costs(found, notes)] if found else []
    return [*tables, _table_of_trainings(trained, notes)] if trained else tables


def _table_of_costs(found: Sequence[Cost], notes: Sequence[str]) -> CostTable:
    facts = {
        "backbone": [f"{each.backbone}, {each.dtype}" for each in found],
        "input": [UNKNOWN if each.image_size is None else f"{each.image_size} px" for each in found],
        "device": [each.device for each in found],
        "processes": [UNKNOWN if each.processes is None else str(each.processes) for each in found],
        "batch size": [str(each.batch_size) for each in found],
    }
    differing = {name: texts for name, texts in facts.items() if len(set(texts)) > 1}
    same = [f"{name} {texts[0]}" for name, texts in facts.items() if set(texts) != {UNKNOWN} and name not in differing]
    memories = any(each.fitted for each in found)
    alike = not differing.keys() & {"device", "processes", "batch size"}
    columns = {
        "frozen, M": [_millions(each.frozen, "{:.1f}") for each in found],
        "learned, M": [_millions(each.learned, "{:.3f}") for each in found],
        **({"fitted, M": [_millions(each.fitted, "{:.3f}") for each in found]} if memories else {}),
        "vision, ms": [_entry(each.milliseconds["vision"]) for each in found],
        "method, ms": _times([each.milliseconds["method"] for each in found], marked=alike),
        "vision + method, ms": _times([each.inference for each in found], marked=alike),
        "scoring, ms": [_entry(each.milliseconds["scoring"]) for each in found],
        "memory, GB": [_entry(each.peak_memory and each.peak_memory / 1e9, "{:.2f}") for each in found],
    }
    own = list(dict.fromkeys(each.title for each in found if each.own_pass))
    kinds = dict.fromkeys(MEMORY[each.on_accelerator] for each in found if each.peak_memory is not None)
    notes = [
        *notes,
        *([f"In all rows: {'; '.join(same)}."] if same else []),
        PARAMETERS_NOTE,
        *([FITTED_NOTE] if memories else []),
        TIMES_NOTE,
        *(f"One forward pass served {titles}: its time holds what all of them ask for." for titles in _sharing(found)),
        *([f"{', '.join(own)}: the time of the method holds a forward pass of its own."] if own else []),
        *([f"Memory is the peak {' or '.join(kinds)}."] if kinds else []),
    ]
    texts = {"": [each.title for each in found], **differing}
    return _table(
        "cost", "Cost per image", texts, columns, notes=notes, csv=[_csv_row(each, memories=memories) for each in found]
    )


def _csv_row(of: Cost, *, memories: bool) -> dict[str, str | float | None]:
    return {
        "method": of.title,
        "backbone": of.backbone,
        "dtype": of.dtype,
        "image_size": of.image_size,
        "device": of.device,
        "processes": of.processes,
        "batch_size": of.batch_size,
        "images": of.images,
        "frozen_parameters": of.frozen,
        "learned_parameters": of.learned,
        **({"fitted_numbers": of.fitted} if memories else {}),
        **{f"{part}_ms": value for part, value in of.milliseconds.items()},
        "peak_memory_bytes": of.peak_memory,
        "memory_of": "accelerator" if of.on_accelerator else "process",
    }


def _sharing(found: Sequence[Cost]) -> list[str]:
    """Return the titles of methods whose times of the tower are equal to the last digit: they shared every pass."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for each in found:
        if each.milliseconds["vision"]:  # 0 where the benchmark encoded nothing for it
            place = each.device, each.processes, each.batch_size, each.images
            groups[(*place, each.milliseconds["vision"])].append(each.title)
    return [f"{', '.join(titles[:-1])} and {titles[-1]}" for titles in groups.values() if len(titles) > 1]


def _table_of_trainings(found: Sequence[TrainingCost], notes: Sequence[str]) -> CostTable:
    devices = [each.device for each in found]
    differing = {"device": devices} if len(set(devices)) > 1 else {}
    columns = {
        "images": [_entry(each.images, "{}") for each in found],
        "epochs": [_entry(each.epochs, "{}") for each in found],
        "trainings": [_entry(each.trainings, "{}") for each in found],
        "seconds": [_entry(each.seconds) for each in found],
    }
    notes = [
        *notes,
        *([] if differing else [f"In all rows: device {devices[0]}."]),
        "Seconds are the wall time of all epochs, from features that were encoded before, or with the encoding where a "
        "method trains on images, or reads features once that no other one has stored; the mean over the trainings, "
        "one for each seed. Of a training that was interrupted they are those of the epochs since then.",
    ]
    rows: list[dict[str, str | float | None]] = [
        {
            "method": each.title,
            "trained_on": each.source,
            "device": each.device,
            "images": each.images,
            "epochs": each.epochs,
            "trainings": each.trainings,
            "seconds": each.seconds,
        }
        for each in found
    ]
    texts = {"": [each.title for each in found], "trained on": [each.source for each in found], **differing}
    return _table("cost_training", "Cost of a training", texts, columns, notes=notes, csv=rows)


def _entry(value: float | None, form: str = "{:.1f}", mark: Mark = "") -> Entry:
    return Entry(UNKNOWN) if value is None else Entry(form.format(value), value, mark)


def _millions(count: int | None, form: str) -> Entry:
    return _entry(count and count / 1e6, form if count else "{}")  # none at all is 0, without decimals


def _times(values: Sequence[float | None], *, marked: bool) -> list[Entry]:
    """Return a column of milliseconds, its lowest and second marked where the rows may be compared."""
    marks = lowest_and_second(values if marked else [None] * len(values))
    return [_entry(value, mark=mark) for value, mark in zip(values, marks, strict=True)]


def _table(
    name: str,
    title: str,
    texts: Mapping[str, Sequence[str]],
    columns: Mapping[str, Sequence[Entry]],
    *,
    notes: Sequence[str],
    csv: Sequence[Mapping[str, str | float | None]],
) -> CostTable:
    named = [[Entry(text) for text in column] for column in texts.values()]
    rows = tuple(zip(*named, *columns.values(), strict=True))
    content = to_csv_text([list(csv[0]), *(list(row.values()) for row in csv)], decimals=3)
    return CostTable(name, title, (*texts, *columns), len(texts), rows, tuple(notes), content)


def render(table: CostTable, style: str) -> str:
    """Return a table of costs as Markdown (`md`), LaTeX (`tex`) or plain text (`txt`, the banner first), with notes."""
    how = STYLES[style]
    marks: dict[Mark, str] = {"best": how.best, "second": how.second, "": "{}"}
    body = [[marks[entry.mark].format(how.escape(entry.text)) for entry in row] for row in table.rows]
    banner = [how.escape(note) for note in table.notes if is_banner(note)]
    drawn = grid([how.escape(text) for text in table.header], body, how, banner=banner)
    entries = [entry for row in table.rows for entry in row]
    legend = [MARKS[style]] if any(entry.mark for entry in entries) else []
    legend += [f"{UNKNOWN}: unknown."] if any(entry.text == UNKNOWN for entry in entries) else []
    notes = [how.escape(note) for note in (*table.notes, *legend)]
    title = f"{how.heading}{how.escape(table.title)}"
    if style == "tex":
        return f"{title}\n" + "".join(f"% {note}\n" for note in notes) + drawn + "\n"
    if style == "md":
        return f"{title}\n\n{drawn}\n\n" + "".join(f"- {note}\n" for note in notes)
    return "\n".join([*banner, title, "", drawn, "", *(note for note in notes if note not in banner), ""])


def cost_files(tables: Iterable[CostTable]) -> dict[str, str]:
    """Return by file name every table of costs as Markdown, LaTeX and CSV."""
    return {
        f"{table.name}.{style}": table.csv if style == "csv" else render(table, style)
        for table in tables
        for style in ("md", "tex", "csv")
    }


def cost_summary(tables: Iterable[CostTable]) -> str:
    """Return the tables of costs as plain text for a terminal."""
    return "\n".join(render(table, "txt") for table in tables)
