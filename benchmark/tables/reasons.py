"""Why results may differ from published numbers, and which are results of another experiment.

Pure functions of records and of published numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.clip import KNOWN_FILES
from benchmark.protocol import Protocol
from benchmark.records import Record
from benchmark.tables.published import Number, Variant

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Reason:
    """Why a result may differ from a published number."""

    text: str
    bars: bool = False
    """Whether it makes the two results of different experiments, so that they are not compared."""


def reasons(number: Number, variant: Variant, group: Sequence[Record]) -> list[Reason]:
    """Return why results may differ from a published number: every condition that differs or that is not stated.

    What the method was trained on, the model, the size of its input and the images that were scored make an experiment:
    where one of them differs, the numbers are not compared.
    """
    record, conditions = group[0], number.conditions
    cell = record.cell
    read = conditions.second_hand
    found = [Reason(f"published number second hand, read in {read}")] if read else []
    if cell.changed and variant.options is None:
        found.append(Reason("options " + ", ".join(f"{name}={value}" for name, value in cell.changed.items())))
    if cell.references is not None:
        shots = max(map(len, cell.references.values()), default=0)
        found.append(Reason(f"{shots} reference images per class, published none", bars=True))
    if cell.auxiliary is not None:
        auxiliary = conditions.auxiliary_for(cell.dataset.name)
        if auxiliary is None:
            found.append(Reason(f"trained on {cell.auxiliary.name}, published {NOT_STATED}"))
        elif set(auxiliary.split("+")) != set(cell.auxiliary.name.split("+")):
            found.append(Reason(f"trained on {cell.auxiliary.name}, published on {auxiliary}", bars=True))
        seeds = [each.cell.seed for each in group]
        if cell.checkpoint is not None:
            found.append(Reason("checkpoint given, not trained by the run"))
        elif seeds != [conditions.seed]:
            several = "mean of seeds" if len(seeds) > 1 else "seed"
            found.append(Reason(f"{several} {', '.join(map(str, seeds))}, published {_said(conditions.seed)}"))
    if not _same_weights(record, conditions.backbone):
        text = f"backbone {cell.backbone.name}, published {_said(conditions.backbone)}"
        found.append(Reason(text, bars=conditions.backbone is not None))
    if record.image_size is None or record.image_size != conditions.image_size:
        text = f"image size {_said(record.image_size)}, published {_said(conditions.image_size)}"
        found.append(Reason(text, bars=None not in (record.image_size, conditions.image_size)))
    if number.kind_is_unknown:
        found.append(Reason(f"AUPRO with 200 thresholds, published {NOT_STATED}"))
    found += [Reason(text) for text in _quirks(number, record)]
    if record.scores_whole_class and number.row.level == "image":
        found.append(Reason("image scores depend on all test images of a class"))
    if cell.backbone.dtype != "float32":
        found.append(Reason(f"dtype {cell.backbone.dtype}"))
    return [*found, *_data(number, record), *map(Reason, conditions.notes)]


def _said(value: object) -> str:
    return NOT_STATED if value is None else str(value)


def _same_weights(record: Record, published: str | None) -> bool:
    """Say whether the backbone is the published one; under the name of a local file it is known by its sha256."""
    known = KNOWN_FILES.get(published or "")
    return record.cell.backbone.name == published or (known is not None and record.cell.backbone.sha256 == known.sha256)


def _quirks(number: Number, record: Record) -> list[str]:
    """Return the fields of the protocol that differ from the source's, or from the default if that is not stated."""
    found = []
    card = number.cards[0]
    layout = next((each for each in card.layouts if each.name == record.cell.dataset.layout), None)
    spelled = [c.prompt_name != c.name for c in card.classes if number.class_name in (None, c.name)]
    moves = {
        # Only a mask with a threshold of its own is read differently, and only pixel metrics look at masks.
        "mask_gt0": number.row.level == "pixel" and (layout is None or layout.mask_threshold != 0),
        "raw_class_names": any(spelled),
    }
    for name, of_protocol in record.cell.protocol:
        theirs = number.conditions.protocol.get(name)
        # A method may resize positions in its own way, whatever the protocol says.
        own = record.cell.backbone.pos_interp if name == "pos_interp" and theirs is not None else None
        ours = own or of_protocol
        if theirs is None and ours != Protocol.model_fields[name].default:
            found.append(f"quirk protocol.{name}={ours}")
        elif theirs is not None and ours != theirs and moves.get(name, True):
            found.append(f"protocol.{name}={ours}, published {theirs}")
    return found


def _data(number: Number, record: Record) -> list[Reason]:
    card, name = number.cards[0], record.cell.dataset.layout
    found = [Reason(f"data: {warning}") for warning in record.warnings]
    scored = number.conditions.layouts.get(card.name)
    of_others = [layout.name for layout in card.layouts if layout.counts is not None]
    if name in of_others if scored is None else name != scored:
        found.append(Reason(f"data: the layout {name} holds another test set than the published one", bars=True))
    if number.class_name is None and len(record.classes) < len(card.classes):
        found.append(Reason(f"data: mean of {len(record.classes)} of {len(card.classes)} classes", bars=True))
    shown = [result for each, result in record.classes.items() if number.class_name in (None, each)]
    skipped = sum(len(result.skipped) for result in shown)
    return found + (
        [Reason(f"data: images left out, as they or their masks cannot be used: {skipped}")] if skipped else []
    )
