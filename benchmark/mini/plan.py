"""The list of images of the mini suite. Each image can be drawn on its own from its entry.

The layouts are those of the original distributions, with their oddities: mixed extensions, class indices in masks,
label files, stray files. Two things differ from the real ones on purpose: there are few images of small size, and the
masks of DAGM are exact instead of loose ellipses.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmark.mini.catalogue import MVTEC_GREY
from benchmark.mini.further import FURTHER_SHOTS
from benchmark.mini.shot import Mode, Shot, Split, classes, digest, each


def _mvtec_shape(dataset: str, root: str, sides: range, *, folders: bool = True) -> Iterator[Shot]:
    """The shape of MVTec AD; `folders`: one per defect, else all in `bad`."""
    for c in classes(dataset, sides):
        top = f"{root}/{c.name}"
        for i in range(4):
            yield c.normal(i, f"{top}/train/good/{i:03}.png", "train")
        for i in range(6 if folders else 7):
            prefix = "mesh_" if c.name == "Woven_068" else ""
            yield c.normal(i, f"{top}/test/good/{prefix}{i:03}.png")
        kinds = len(c.look.defects)
        for i, defect, index in each(c.look, -(-6 // kinds) * kinds if folders else 7):
            stem = f"{defect}/{index:03}" if folders else f"bad/{i:03}"
            yield c.damaged(defect, index, f"{top}/test/{stem}.png", f"{top}/ground_truth/{stem}_mask.png")


def _mvtec() -> Iterator[Shot]:
    for shot in _mvtec_shape("mvtec", "mvtec_anomaly_detection", range(112, 145, 8)):
        yield replace(shot, mode="L") if shot.class_name in MVTEC_GREY else shot


def _mpdd() -> Iterator[Shot]:
    return _mvtec_shape("mpdd", "MPDD", range(128, 153, 8))


def _dtd() -> Iterator[Shot]:
    return _mvtec_shape("dtd_synthetic", "DTD-Synthetic", range(96, 137, 8), folders=False)


def _visa() -> Iterator[Shot]:
    for c in classes("visa", range(128, 161, 8)):
        top = f"VisA_20220922/{c.name}/Data"
        for i in range(11):
            yield c.normal(i, f"{top}/Images/Normal/{i:04}.JPG", "train" if i < 4 else "test")
        for i, defect, index in each(c.look, 7):
            shot = c.damaged(defect, index, f"{top}/Images/Anomaly/{i:03}.JPG", f"{top}/Masks/Anomaly/{i:03}.png")
            yield replace(shot, mask_value=list(c.look.defects).index(defect) + 1)  # a class index, not 255


def _btad() -> Iterator[Shot]:
    extensions = {"01": ("bmp", "png"), "02": ("png", "png"), "03": ("bmp", "bmp")}
    for c in classes("btad", range(128, 153, 8)):
        top = f"BTech_Dataset_transformed/{c.name}"
        image, mask = extensions[c.name]
        found = [
            *(c.normal(i, f"{top}/train/ok/{i:04}.{image}", "train") for i in range(4)),
            *(c.normal(i, f"{top}/test/ok/{i:04}.{image}") for i in range(6)),
        ]
        for i, defect, index in each(c.look, 6):
            found.append(
                c.damaged(defect, index, f"{top}/test/ko/{i:04}.{image}", f"{top}/ground_truth/ko/{i:04}.{mask}")
            )
        for shot in found:  # the third product's images are wider than high
            yield replace(shot, size=(shot.size[0], shot.size[0] * 3 // 4)) if c.name == "03" else shot


def _sdd() -> Iterator[Shot]:
    """Tall images; each has a label image, all black where nothing is wrong."""
    (c,) = classes("sdd", range(96, 97))
    defects = list(c.look.defects)
    for i in range(12):
        part = f"KolektorSDD/kos{i // 4 + 1:02}/Part{i % 4}"
        files = f"{part}.jpg", f"{part}_label.bmp"
        shot = c.damaged(defects[i // 2 % len(defects)], i, *files) if i % 2 else c.normal(i, files[0])
        yield replace(shot, size=(96, 291 + digest("size", "sdd", i) % 18), mode="L", mask=files[1])


def _dagm() -> Iterator[Shot]:
    for c in classes("dagm", range(112, 129, 8)):
        defects = list(c.look.defects)
        phases: tuple[tuple[str, Split, int, int], ...] = (("Train", "train", 1, 5), ("Test", "test", 576, 14))
        for phase, split, first, count in phases:
            top = f"DAGM_KaggleUpload/{c.name}/{phase}"
            for i in range(count):
                file, label = f"{top}/{first + i:04}.PNG", f"{top}/Label/{first + i:04}_label.PNG"
                if i % 2 and (split == "test" or i == 3):
                    shot = c.damaged(defects[i // 2 % len(defects)], i, file, label, split=split)
                else:
                    shot = c.normal(i, file, split)
                yield replace(shot, mode="L")


def _headct() -> Iterator[Shot]:
    """Anomalous images from 000, normal ones from 100; the last two are RGBA, as those of the real set are."""
    (c,) = classes("headct", range(104, 161, 4))
    for i in range(8):
        yield c.damaged("hemorrhage", i, f"HeadCT/head_ct/head_ct/{i:03}.png")
    for i in range(8):
        shot = c.normal(i, f"HeadCT/head_ct/head_ct/{100 + i:03}.png")
        yield replace(shot, mode="RGBA") if i >= 6 else shot


def _brainmri() -> Iterator[Shot]:
    """Names and formats are as mixed as in the real set: blanks, capitals, PNG under the name of a JPEG file."""
    (c,) = classes("brainmri", range(104, 169, 4))
    normal: tuple[tuple[str, Mode, str | None], ...] = (
        ("no.jpg", "RGB", None),
        ("1 no.jpeg", "RGB", None),
        ("N1.JPG", "L", None),
        ("No15.jpg", "RGB", "PNG"),
        ("no 96.jpg", "P", "PNG"),
        ("no 9.png", "RGB", None),
        ("44no.jpg", "RGB", None),
    )
    for i, (file, mode, encoding) in enumerate(normal):
        yield replace(c.normal(i, f"BrainMRI/brain_tumor_dataset/no/{file}"), mode=mode, encoding=encoding)
    tumour = ("Y1.jpg", "Y2.JPG", "Y3.JPG", "Y4.jpg", "Y8.JPG", "Y92.jpg", "Y92.png", "Y100.JPG")
    for i, file in enumerate(tumour):
        yield c.damaged("tumour", i, f"BrainMRI/brain_tumor_dataset/yes/{file}")


def _br35h() -> Iterator[Shot]:
    (c,) = classes("br35h", range(112, 161, 4))
    for i, stem in enumerate(("no0", "no1", "no2", "no3", "no4", "no5", "no6", "No12")):
        yield c.normal(i, f"Br35H/no/{stem}.jpg")
    for i in range(8):
        yield c.damaged("tumour", i, f"Br35H/yes/y{i}.jpg")
    for i in range(2):  # unlabelled
        yield c.damaged("tumour", i, f"Br35H/pred/pred{i}.jpg", split="extra")


def _covid19() -> Iterator[Shot]:
    (c,) = classes("covid19", range(128, 161, 8))
    top = "COVID-19 Radiography Database"
    found = [
        *(c.normal(i, f"{top}/NORMAL/NORMAL ({i + 1}).png") for i in range(9)),
        *(c.damaged("opacity", i, f"{top}/COVID-19/COVID-19 ({i + 1}).png") for i in range(7)),
    ]
    for i in range(2):  # another illness: neither normal nor what is looked for
        file = f"{top}/Viral Pneumonia/Viral Pneumonia ({i + 1}).png"
        found.append(c.damaged("opacity", i, file, split="extra"))
    return (replace(shot, mode="L") for shot in found)


def _all_anomalous(
    dataset: str, file: Callable[[int], str], mask: Callable[[int], str], sides: range, *, ratio: float = 1.0
) -> Iterator[Shot]:
    """The pixel-level medical sets; `ratio` is height by width."""
    (c,) = classes(dataset, sides)
    (defect,) = c.look.defects
    for i in range(14):
        shot = c.damaged(defect, i, file(i), mask(i))
        yield replace(shot, size=(shot.size[0], round(shot.size[0] * ratio)))


def _isic() -> Iterator[Shot]:
    def number(i: int) -> str:
        return f"ISIC_{3 + 811 * i:07}"  # numbers have gaps

    top = "ISIC/ISBI2016_ISIC_Part1_Test"
    return _all_anomalous(
        "isic",
        lambda i: f"{top}_Data/{number(i)}.jpg",
        lambda i: f"{top}_GroundTruth/{number(i)}_Segmentation.png",
        range(136, 177, 8),
        ratio=0.75,
    )


def _colondb() -> Iterator[Shot]:
    top = "CVC-ColonDB"
    return _all_anomalous(
        "cvc_colondb",
        lambda i: f"{top}/images/{i + 1}.png",
        lambda i: f"{top}/masks/{i + 1}.png",
        range(136, 145, 8),
        ratio=0.87,
    )


def _clinicdb() -> Iterator[Shot]:
    top = "CVC-ClinicDB"
    return _all_anomalous(
        "cvc_clinicdb",
        lambda i: f"{top}/Original/{i + 1}.tif",
        lambda i: f"{top}/Ground Truth/{i + 1}.tif",
        range(144, 145),
        ratio=0.75,
    )


def _kvasir() -> Iterator[Shot]:
    def stem(i: int) -> str:
        return f"cju{digest('kvasir', i):022x}"[:25]

    shots = _all_anomalous(
        "kvasir",
        lambda i: f"Kvasir-SEG/images/{stem(i)}.jpg",
        lambda i: f"Kvasir-SEG/masks/{stem(i)}.jpg",
        range(120, 177, 8),
        ratio=0.9,
    )
    return (replace(shot, mask_rgb=True) for shot in shots)


def _endo() -> Iterator[Shot]:
    def stem(i: int) -> str:
        text = f"{digest('endo', i):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    top = "EndoTect_2020_Segmentation_Test_Dataset"
    return _all_anomalous(
        "endo", lambda i: f"{top}/images/{stem(i)}.jpg", lambda i: f"{top}/masks/{stem(i)}.png", range(128, 169, 8)
    )


def _tn3k() -> Iterator[Shot]:
    top = "Thyroid Dataset/tn3k"
    yield from _all_anomalous(
        "tn3k",
        lambda i: f"{top}/test-image/{i:04}.jpg",
        lambda i: f"{top}/test-mask/{i:04}.jpg",
        range(120, 169, 8),
        ratio=0.8,
    )
    (c,) = classes("tn3k", range(128, 129))
    for i in range(2):  # numbered from 0000 again
        yield c.damaged(
            "nodule", i, f"{top}/trainval-image/{i:04}.jpg", f"{top}/trainval-mask/{i:04}.jpg", split="extra"
        )


_SHOTS: dict[str, Callable[[], Iterator[Shot]]] = {
    "mvtec": _mvtec,
    "visa": _visa,
    "mpdd": _mpdd,
    "btad": _btad,
    "sdd": _sdd,
    "dagm": _dagm,
    "dtd_synthetic": _dtd,
    "headct": _headct,
    "brainmri": _brainmri,
    "br35h": _br35h,
    "covid19": _covid19,
    "isic": _isic,
    "cvc_colondb": _colondb,
    "cvc_clinicdb": _clinicdb,
    "kvasir": _kvasir,
    "endo": _endo,
    "tn3k": _tn3k,
    **FURTHER_SHOTS,
}


def shots(dataset: str | None = None) -> list[Shot]:
    """Return the images of a dataset by the name of its card, or of all."""
    names = _SHOTS if dataset is None else (dataset,)
    return [shot for name in names for shot in _SHOTS[name]()]
