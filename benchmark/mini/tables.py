"""The files of the mini suite that are no images: label files, and the litter of real folders."""

from collections.abc import Sequence

from benchmark.mini.shot import Shot

THUMBS = "\ufeffnot an image: a stray file, such as Windows leaves in folders\n"


def texts(shots: Sequence[Shot]) -> dict[str, str]:
    """Return the label files of these images, and what else lies about in their folders, by path."""
    tables = {"visa": _visa_tables, "dagm": _dagm_tables, "headct": _headct_table}
    found: dict[str, str] = {}
    for name, table in tables.items():
        if some := [shot for shot in shots if shot.dataset == name]:
            found |= table(some)
    drawn = [path for shot in shots for path in (shot.file, shot.mask) if path]
    return found | {path: text for path, text in _strays().items() if _beside(path, drawn)}


def _visa_tables(shots: Sequence[Shot]) -> dict[str, str]:
    top = "VisA_20220922"
    rows, annotations = ["object,split,label,image,mask"], {}
    for name in dict.fromkeys(shot.class_name for shot in shots):
        lines = ["image,label,mask"]
        for shot in (s for s in shots if s.class_name == name):
            image, mask = (path.removeprefix(f"{top}/") for path in (shot.file, shot.mask or ""))
            rows.append(f"{name},{shot.split},{'anomaly' if shot.kinds else 'normal'},{image},{mask}")
            lines.append(f"{image},{shot.defect or 'normal'},{mask}")
        annotations[f"{top}/{name}/image_anno.csv"] = "\n".join([*lines, ""])
    table = "\n".join([*rows, ""])
    # Training on both labels: other splits of the same images, which no one here reads.
    few = table.replace(",test,anomaly,", ",train,anomaly,", 12)
    names = {"1cls": table, "2cls_fewshot": few, "2cls_highshot": few}
    return annotations | {f"{top}/split_csv/{name}.csv": text for name, text in names.items()}


def _dagm_tables(shots: Sequence[Shot]) -> dict[str, str]:
    tables: dict[str, list[str]] = {}
    for shot in shots:
        folder, _, name = shot.file.rpartition("/")
        lines = tables.setdefault(f"{folder}/Label/Labels.txt", ["1"])
        label = shot.mask.rpartition("/")[2] if shot.mask else "0"
        lines.append(f"{len(lines)}\t{int(bool(shot.mask))}\t{name}\t0\t{label}")
    return {path: "\n".join([*lines, ""]) for path, lines in tables.items()}


def _headct_table(shots: Sequence[Shot]) -> dict[str, str]:
    rows = [f"{int(s.file[-7:-4])},{int(bool(s.kinds))}" for s in shots]
    return {"HeadCT/labels.csv": "\n".join(["id, hemorrhage", *rows, ""])}


def _strays() -> dict[str, str]:
    """Litter that breaks every loader that pairs files by position."""
    folders = (
        "mvtec_anomaly_detection/bottle/ground_truth/broken_large",
        "BTech_Dataset_transformed/02/test/ko",
        "ISIC/ISBI2016_ISIC_Part1_Test_GroundTruth",
        "CVC-ClinicDB/Original",
        "BrainMRI/brain_tumor_dataset/no",
    )
    readme = "A drawn miniature in the layout of the real dataset; it holds none of the real dataset's images.\n"
    readmes = ("mvtec_anomaly_detection/bottle/readme.txt", "COVID-19 Radiography Database/README.md.txt")
    return {f"{folder}/Thumbs.db": THUMBS for folder in folders} | dict.fromkeys(readmes, readme)


def _beside(path: str, drawn: Sequence[str]) -> bool:
    """Say whether some image lies in the folder of a path or below it."""
    folder = path.rpartition("/")[0] + "/"
    return any(each.startswith(folder) for each in drawn)
