"""Every card reads every layout in which its dataset is found; a new layout is a new row of TREES."""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image

from benchmark.data.cards import ClassCard, load_cards
from benchmark.data.samples import SampleSet, read_samples
from benchmark.data.search import locate

CARDS = load_cards()
REAL = Path(__file__).parents[2].parent / "shared" / "data"


@dataclass(frozen=True)
class Item:
    """What a test image must be read as; also the files that make it."""

    path: str
    class_name: str
    label: int
    mask: str | None = None
    defect: str | None = None


def good(class_name: str, *paths: str) -> list[Item]:
    return [Item(path, class_name, 0) for path in paths]


def bad(class_name: str, *pairs: tuple[str, str | None], defect: str | None = None) -> list[Item]:
    return [Item(path, class_name, 1, mask, defect) for path, mask in pairs]


def unmasked(class_name: str, *paths: str) -> list[Item]:
    return bad(class_name, *((path, None) for path in paths))


@dataclass(frozen=True)
class Tree:
    """A dataset's directory as it is found in the wild, in small."""

    card: str
    layout: str
    at: str
    """The directory below the data root."""
    test: list[Item]
    train: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()
    """Files that are there and are no samples."""
    black: tuple[str, ...] = ()
    """The masks of normal images."""
    texts: dict[str, str] = field(default_factory=dict)
    variant: str = ""

    @property
    def id(self) -> str:
        return "-".join(filter(None, (self.card, self.layout, self.at, self.variant))).replace(" ", "_")


def meta(*class_names: str, phase: str = "test") -> dict[str, str]:
    """The index that both processed forms have; written with paths of another machine, so of no use."""
    records = {
        name: [{"img_path": "/elsewhere/x.png", "mask_path": "", "cls_name": name, "specie_name": "", "anomaly": 1}]
        for name in class_names
    }
    return {"meta.json": json.dumps({"train": {}, phase: records})}


JUNK = ("Thumbs.db", ".DS_Store", "readme.txt", "license.txt")


def mvtec_shape(class_name: str, *defects: str, ext: str = ".png", prefix: str = "") -> list[Item]:
    items = good(class_name, *(f"{class_name}/test/good/{prefix}{i:03}{ext}" for i in range(2)))
    for defect in defects:
        pairs = [
            (f"{class_name}/test/{defect}/{i:03}{ext}", f"{class_name}/ground_truth/{defect}/{i:03}_mask.png")
            for i in range(2)
        ]
        items += bad(class_name, *pairs, defect=defect)
    return items


MVTEC = Tree(
    "mvtec",
    "original",
    "mvtec_anomaly_detection",
    mvtec_shape("bottle", "broken_large", "contamination") + mvtec_shape("metal_nut", "flip"),
    train=("bottle/train/good/000.png", "bottle/train/good/001.png", "metal_nut/train/good/000.png"),
    stray=("bottle/readme.png", "bottle/license.txt", "bottle/test/overview.png", *JUNK),
)
VISA_CSV = """object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0000.JPG,
candle,test,normal,candle/Data/Images/Normal/0001.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png
pipe_fryum,test,normal,pipe_fryum/Data/Images/Normal/0001.JPG,
pipe_fryum,test,anomaly,pipe_fryum/Data/Images/Anomaly/000.JPG,pipe_fryum/Data/Masks/Anomaly/000.png
"""
VISA = Tree(
    "visa",
    "original",
    "VisA_20220922",
    [
        item
        for name in ("candle", "pipe_fryum")
        for item in (
            *good(name, f"{name}/Data/Images/Normal/0001.JPG"),
            *bad(name, (f"{name}/Data/Images/Anomaly/000.JPG", f"{name}/Data/Masks/Anomaly/000.png")),
        )
    ],
    train=("candle/Data/Images/Normal/0000.JPG",),
    texts={
        "split_csv/1cls.csv": VISA_CSV,
        "split_csv/2cls_fewshot.csv": VISA_CSV.replace(",test,", ",train,"),
        "candle/image_anno.csv": "image,label,mask\n",
    },
)
VISA_PREPARED = Tree(
    "visa",
    "prepared",
    "VisA",
    good("candle", "1cls/candle/test/good/0001.JPG")
    + bad("candle", ("1cls/candle/test/bad/000.JPG", "1cls/candle/ground_truth/bad/000.png"))
    + good("pcb1", "1cls/pcb1/test/good/0001.JPG")
    + bad("pcb1", ("1cls/pcb1/test/bad/000.JPG", "1cls/pcb1/ground_truth/bad/000.png")),
    train=("1cls/candle/train/good/0000.JPG",),
    stray=("2cls_fewshot/candle/test/good/0001.JPG", "2cls_fewshot/candle/test/bad/000.JPG"),
)
BTAD = Tree(
    "btad",
    "original",
    "BTech_Dataset_transformed",
    good("01", "01/test/ok/0000.bmp", "01/test/ok/0001.bmp")
    + bad("01", ("01/test/ko/0000.bmp", "01/ground_truth/ko/0000.png"), defect="ko")
    + good("02", "02/test/ok/0000.png")
    + bad("02", ("02/test/ko/0000.png", "02/ground_truth/ko/0000.png"), defect="ko")
    + good("03", "03/test/ok/0000.bmp")
    + bad("03", ("03/test/ko/0000.bmp", "03/ground_truth/ko/0000.bmp"), defect="ko"),
    train=("01/train/ok/0000.bmp", "02/train/ok/0000.png"),
    stray=JUNK,
)
COMMUTATORS = "electrical commutators"


def sdd_pieces(class_folder: str, suffix: str) -> list[Item]:
    test, truth = f"{class_folder}/test", f"{class_folder}/ground_truth"
    pairs = [(f"{test}/defect/{s}.png", f"{truth}/defect/{s}{suffix}.png") for s in ("kos01_Part5_0", "kos02_Part1_1")]
    return good(COMMUTATORS, f"{test}/good/kos01_Part0_0.png", f"{test}/good/kos01_Part5_1.png") + bad(
        COMMUTATORS, *pairs
    )


def dagm_original(phase: str = "Test") -> Tree:
    return Tree(
        "dagm",
        "original",
        "DAGM_KaggleUpload",
        good("Class1", f"Class1/{phase}/0576.PNG", f"Class1/{phase}/0577.PNG")
        + bad("Class1", (f"Class1/{phase}/0578.PNG", f"Class1/{phase}/Label/0578_label.PNG"))
        + good("Class10", f"Class10/{phase}/1151.PNG")
        + bad("Class10", (f"Class10/{phase}/1152.PNG", f"Class10/{phase}/Label/1152_label.PNG")),
        train=("Class1/Train/0001.PNG", "Class1/Train/0002.PNG"),
        stray=("Class1/Train/Label/0001_label.PNG", "Class1/Test/Label/Labels.txt"),
    )


HEADCT_CSV = "id, hemorrhage\n0,1\n1,1\n100,0\n101,0\n"


def headct_original(at: str, images: str, labels: str) -> Tree:
    return Tree(
        "headct",
        "original",
        at,
        good("brain", f"{images}/100.png", f"{images}/101.png")
        + unmasked("brain", f"{images}/000.png", f"{images}/001.png"),
        texts={labels: HEADCT_CSV},
        variant=f"{images}-{labels}".replace("/", "_"),
    )


def adaclip_medical(card: str, at: str, class_folder: str, class_name: str, ext: str) -> Tree:
    test = f"{class_folder}/test"
    return Tree(
        card,
        "adaclip",
        at,
        good(class_name, f"{test}/good/a 1{ext}", f"{test}/good/2{ext}")
        + unmasked(class_name, f"{test}/defect/a 1{ext}", f"{test}/defect/3{ext}"),
        train=(f"{class_folder}/train/good/9{ext}",),
        texts=meta(class_folder),
    )


def adaclip_masked(
    card: str,
    at: str,
    class_folder: str,
    class_name: str,
    stems: Iterable[str],
    exts: tuple[str, str],
    suffix: str = "",
) -> Tree:
    pairs = [
        (f"{class_folder}/test/defect/{s}{exts[0]}", f"{class_folder}/ground_truth/defect/{s}{suffix}{exts[1]}")
        for s in stems
    ]
    return Tree(card, "adaclip", at, bad(class_name, *pairs), texts=meta(class_folder))


def side_by_side(
    card: str,
    layout: str,
    at: str,
    class_name: str,
    stems: Iterable[str],
    exts: tuple[str, str],
    *,
    folders: tuple[str, str] = ("images", "masks"),
    suffix: str = "",
    stray: tuple[str, ...] = (),
    texts: dict[str, str] | None = None,
    variant: str = "",
) -> Tree:
    pairs = [(f"{folders[0]}/{s}{exts[0]}", f"{folders[1]}/{s}{suffix}{exts[1]}") for s in stems]
    return Tree(card, layout, at, bad(class_name, *pairs), stray=stray, texts=texts or {}, variant=variant)


BRAINMRI = [
    *good("brain", "no/no.jpg", "no/1 no.jpeg", "no/N1.JPG", "no/No15.jpg", "no/no 9.png"),
    *unmasked("brain", "yes/Y92.jpg", "yes/Y92.png", "yes/Y100.JPG"),
]
BR35H = good("brain", "no/no0.jpg", "no/no1.jpg", "no/No12.jpg") + unmasked("brain", "yes/y0.jpg", "yes/y1499.jpg")
COVID = good("chest", "NORMAL/NORMAL (1).png", "NORMAL/NORMAL (2).png")
ISIC = ("ISIC_0000003", "ISIC_0011392")
ISIC_GROUND_TRUTH = "ISBI2016_ISIC_Part1_Test_GroundTruth"
UUIDS = ("0a6b0dd2-8ab4-4d65-b0d1-2b4dd0f3f1d1", "cju0qkwl35piu0993l0dewei2")


MVTEC_AD_2 = [
    item
    for name in ("fruit_jelly", "vial")
    for item in (
        *good(name, f"{name}/test_public/good/000_regular.png", f"{name}/test_public/good/000_overexposed.png"),
        *bad(
            name,
            *(
                (f"{name}/test_public/bad/{stem}.png", f"{name}/test_public/ground_truth/bad/{stem}_mask.png")
                for stem in ("000_regular", "000_shift_1", "000_shift_2", "000_shift_3", "000_underexposed")
            ),
            defect="bad",
        ),
    )
]
KSDD2 = good("metal", "test/20000.png", "test/20002.png") + bad("metal", ("test/20003.png", "test/20003_GT.png"))


def sdd2(root: str, at: str, variant: str = "") -> Tree:
    train = tuple(f"{root}train/{stem}.png" for stem in ("10000", "10002"))
    return Tree(
        "sdd2",
        "original",
        at,
        below(root.strip("/"), KSDD2) if root else KSDD2,
        train=train,
        stray=(f"{root}train/10301 (copy).png", f"{root}split_weakly_0.pyb", f"{root}split_weakly_16.pyb"),
        black=tuple(path.replace(".png", "_GT.png") for path in (*train, *(f"{root}{i.path}" for i in KSDD2[:2]))),
        variant=variant,
    )


def bmad(set_: str, at: str, mask: str, *, root: str = "", ungood: str = "Ungood", variant: str = "") -> Tree:
    card, name = {
        "Brain": ("bmad_brain", "brain"),
        "Liver": ("bmad_liver", "liver"),
        "Retina_RESC": ("bmad_resc", "retina"),
    }[set_]
    items = [
        *good(name, "test/good/img/00003.png", "test/good/img/00117.png"),
        *bad(name, *((f"test/{ungood}/img/{s}.png", f"test/{ungood}/{mask}/{s}.png") for s in ("00003", "1_67"))),
    ]
    return Tree(
        card,
        "original",
        at,
        below(root, items) if root else items,
        train=(f"{root}/train/good/00000.png".strip("/"),),
        stray=tuple(
            f"{root}/valid/{path}".strip("/")
            for path in ("good/img/00001.png", f"{ungood}/img/00002.png", f"{ungood}/{mask}/00002.png")
        ),
        black=tuple(f"{root}/test/good/{mask}/{stem}.png".strip("/") for stem in ("00003", "00117")),
        variant=variant,
    )


def below(folder: str, items: list[Item]) -> list[Item]:
    """The same items one folder further down."""
    return [replace(item, path=f"{folder}/{item.path}", mask=item.mask and f"{folder}/{item.mask}") for item in items]


TREES = [
    MVTEC,
    replace(MVTEC, at="mvtec", texts=meta("bottle", "metal_nut"), variant="B"),
    Tree("mvtec", "original", "MVTec AD", below("mvtec_anomaly_detection", MVTEC.test), variant="nested"),
    Tree(
        "mvtec",
        "original",
        "mvtec",
        good("grid", "grid/test/good/000.png")
        + bad("grid", ("grid/test/bent/000.png", "grid/ground_truth/bent/000.png"), defect="bent"),
        variant="mask named like its image",
    ),
    VISA,
    replace(VISA, at="VisA", texts=VISA.texts | meta("candle", "pipe_fryum"), variant="BC"),
    Tree(
        "visa",
        "original",
        "visa",
        below("VisA", VISA.test),
        texts={"VisA/split_csv/1cls.csv": VISA_CSV},
        train=("VisA/candle/Data/Images/Normal/0000.JPG",),
        variant="outer",
    ),
    VISA_PREPARED,
    Tree(
        "visa",
        "prepared",
        "visa_pytorch",
        [replace(i, path=i.path[5:], mask=i.mask and i.mask[5:]) for i in VISA_PREPARED.test],
    ),
    Tree(
        "mpdd",
        "original",
        "MPDD",
        mvtec_shape("bracket_black", "hole", "scratches") + mvtec_shape("tubes", "anomalous"),
        train=("tubes/train/good/000.png",),
        texts=meta("bracket_black", "tubes"),
    ),
    BTAD,
    replace(BTAD, at="BTAD", texts=meta("01", "02", "03"), variant="B"),
    Tree(
        "btad",
        "original",
        "btad",
        good("03", "03/test/ok/0000.png")
        + bad("03", ("03/test/ko/0000.png", "03/ground_truth/ko/0000.png"), defect="ko"),
        variant="all PNG",
    ),
    *(
        Tree(
            "sdd",
            "anomalyclip",
            "SDD",
            sdd_pieces(folder, suffix),
            train=(f"{folder}/train/good/kos03_Part0_0.png",),
            texts=meta(COMMUTATORS),
            variant=f"{folder}{suffix}",
        )
        for folder in ("electrical commutators", "electrical_commutators")
        for suffix in ("", "_mask")
    ),
    Tree(
        "sdd",
        "adaclip",
        "SDD_anomaly_detection",
        sdd_pieces("SDD", "_mask"),
        train=("SDD/train/good/kos03_Part0_0.png",),
        texts=meta("SDD"),
    ),
    dagm_original(),
    replace(dagm_original(), at="DAGM", texts=meta("Class1", "Class10", phase="Test"), variant="B"),
    Tree(
        "dagm",
        "adaclip",
        "DAGM_anomaly_detection",
        good("Class1", "Class1/test/good/0001.PNG", "Class1/test/good/0600.PNG")
        + bad("Class1", ("Class1/test/defect/0002.PNG", "Class1/ground_truth/defect/0002_label.PNG"))
        + bad("Class7", ("Class7/test/defect/0002.PNG", "Class7/ground_truth/defect/0002_label.PNG")),
        train=("Class1/train/good/0003.PNG",),
        texts=meta("Class1", "Class7"),
    ),
    Tree(
        "dtd_synthetic",
        "original",
        "DTD-Synthetic",
        mvtec_shape("Woven_068", "bad", prefix="mesh_") + mvtec_shape("Blotchy_099", "bad"),
        train=("Blotchy_099/train/good/000.png",),
        texts=meta("Woven_068", "Blotchy_099"),
    ),
    headct_original("HeadCT", "head_ct/head_ct", "labels.csv"),
    headct_original("head-ct-hemorrhage", "head_ct", "labels.csv"),
    headct_original("HeadCT", "head_ct/head_ct", "head_ct/labels.csv"),
    headct_original("head_ct", "head_ct", "labels.csv"),
    Tree(
        "headct",
        "anomalyclip",
        "HeadCT_anomaly_detection",
        good("brain", "brain/test/good/100.png", "brain/test/good/101.png")
        + unmasked("brain", "brain/test/hemorrhage/000.png", "brain/test/hemorrhage/100.png"),
        texts=meta("brain"),
    ),
    adaclip_medical("headct", "HeadCT_anomaly_detection", "headct", "brain", ".png"),
    Tree(
        "brainmri",
        "original",
        "BrainMRI",
        below("brain_tumor_dataset", BRAINMRI),
        stray=("brain_tumor_dataset/augmented/yes/aug_Y1.jpg", *JUNK),
    ),
    Tree("brainmri", "original", "BrainMRI", below("brain_tumor_dataset", BRAINMRI), texts=meta("brain"), variant="B"),
    Tree(
        "brainmri",
        "original",
        "brain-mri-images-for-brain-tumor-detection",
        below("brain_tumor_dataset", BRAINMRI),
        stray=tuple(i.path for i in BRAINMRI),
        variant="both copies",
    ),
    Tree("brainmri", "original", "brain_tumor_dataset", BRAINMRI, variant="one copy"),
    adaclip_medical("brainmri", "BrainMRI", "brain_mri", "brain", ".jpg"),
    Tree(
        "br35h",
        "original",
        "Br35H",
        BR35H,
        stray=("pred/pred0.jpg", "pred/y3.jpg", "Br35H-Mask-RCNN/TRAIN/y1.jpg", "Br35H-Mask-RCNN/annotations_all.json"),
    ),
    Tree("br35h", "original", "br35", BR35H, texts=meta("brain"), variant="B"),
    adaclip_medical("br35h", "Br35h_anomaly_detection", "br35h", "brain", ".jpg"),
    Tree(
        "covid19",
        "original",
        "COVID-19 Radiography Database",
        COVID + unmasked("chest", "COVID-19/COVID-19 (1).png", "COVID-19/COVID-19(2).png"),
        stray=("Viral Pneumonia/Viral Pneumonia (1).png", "NORMAL.metadata.xlsx", "README.md.txt"),
        variant="A1",
    ),
    *(
        Tree(
            "covid19",
            "original",
            "COVID-19_Radiography_Dataset",
            COVID + unmasked("chest", f"{folder}/COVID (1).png"),
            texts=meta("chest"),
            variant=f"B {folder}",
        )
        for folder in ("COVID", "COVID-19")
    ),
    Tree(
        "covid19",
        "release3",
        "COVID-19_Radiography_Dataset",
        good("chest", "Normal/images/Normal-1.png", "Normal/images/Normal-2.png")
        + unmasked("chest", "COVID/images/COVID-1.png"),
        stray=(
            "Normal/masks/Normal-1.png",
            "COVID/masks/COVID-1.png",
            "Lung_Opacity/images/Lung_Opacity-1.png",
            "Viral Pneumonia/images/Viral Pneumonia-1.png",
            "COVID.metadata.xlsx",
        ),
        variant="A3",
    ),
    side_by_side(
        "isic",
        "original",
        "ISIC 2016",
        "skin",
        ISIC,
        (".jpg", ".png"),
        folders=("ISBI2016_ISIC_Part1_Test_Data", ISIC_GROUND_TRUTH),
        suffix="_Segmentation",
        stray=(
            "ISBI2016_ISIC_Part1_Training_Data/ISIC_0000000.jpg",
            "ISBI2016_ISIC_Part1_Test_Data/ISIC_0000003_superpixels.png",
            "ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_0000000_Segmentation.png",
        ),
    ),
    side_by_side(
        "isic",
        "anomalyclip",
        "ISBI",
        "skin",
        ISIC,
        (".jpg", ".png"),
        folders=("skin/test/bad", f"skin/{ISIC_GROUND_TRUTH}"),
        suffix="_Segmentation",
        texts=meta("skin"),
    ),
    adaclip_masked("isic", "ISIC", "isic", "skin", ISIC, (".jpg", ".png"), "_Segmentation"),
    Tree(
        "cvc_colondb",
        "original",
        "CVC-ColonDB",
        bad("colon", ("1.bmp", "p1.bmp"), ("10.bmp", "p10.bmp"), ("2.bmp", "p2.bmp")),
        stray=("s1.bmp", "c1.bmp", "s10.bmp", "c10.bmp", "s2.bmp", "c2.bmp"),
    ),
    side_by_side("cvc_colondb", "repackaged", "CVC-ColonDB", "colon", ("1", "10", "380"), (".png", ".png"), stray=JUNK),
    side_by_side(
        "cvc_colondb", "repackaged", "cvc_colondb", "colon", ("1", "2"), (".png", ".png"), texts=meta("colon")
    ),
    adaclip_masked("cvc_colondb", "CVC-ColonDB", "ColonDB", "colon", ("1", "10"), (".png", ".png")),
    *(
        side_by_side(
            "cvc_clinicdb",
            "original",
            "CVC-ClinicDB",
            "colon",
            ("1", "10", "2"),
            (ext, ext),
            folders=(f"{folder}Original", f"{folder}Ground Truth"),
            variant=folder + ext,
        )
        for folder, ext in (("", ".tif"), ("TIF/", ".tif"), ("PNG/", ".png"))
    ),
    side_by_side(
        "cvc_clinicdb",
        "original",
        "CVC-ClinicDB",
        "colon",
        ("1", "2"),
        (".tif", ".tif"),
        folders=("TIF/Original", "TIF/Ground Truth"),
        stray=("PNG/Original/1.png", "PNG/Original/2.png", "PNG/Ground Truth/1.png", "PNG/Ground Truth/2.png"),
        variant="both formats",
    ),
    side_by_side(
        "cvc_clinicdb", "anomalyclip", "CVC-ClinicDB", "colon", ("1", "612"), (".png", ".png"), texts=meta("colon")
    ),
    adaclip_masked("cvc_clinicdb", "CVC-ClinicDB", "ClinicDB", "colon", ("1", "10"), (".tif", ".tif")),
    side_by_side(
        "kvasir",
        "original",
        "Kvasir-SEG",
        "colon",
        UUIDS,
        (".jpg", ".jpg"),
        texts={"kavsir_bboxes.json": "{}"},
        variant="A",
    ),
    side_by_side("kvasir", "original", "Kvasir", "colon", UUIDS, (".png", ".png"), texts=meta("colon"), variant="B"),
    side_by_side("endo", "original", "EndoTect_2020_Segmentation_Test_Dataset", "colon", UUIDS, (".jpg", ".png")),
    side_by_side("endo", "original", "Endo", "colon", UUIDS, (".jpg", ".png"), texts=meta("colon"), variant="B"),
    adaclip_masked("endo", "EndoTect", "endo", "colon", UUIDS, (".jpg", ".png")),
    *(
        side_by_side(
            "tn3k",
            "original",
            at,
            "thyroid",
            ("0000", "0613"),
            (".jpg", ".jpg"),
            folders=("test-image", "test-mask"),
            stray=("trainval-image/0000.jpg", "trainval-mask/0000.jpg", "label4test.csv", "tn3k-trainval-fold0.json"),
        )
        for at in ("Thyroid Dataset/tn3k", "TN3K")
    ),
    adaclip_masked("tn3k", "TN3K", "tn3k", "thyroid", ("0000", "0001"), (".jpg", ".jpg")),
    sdd2("", "KolektorSDD2"),
    sdd2("KolektorSDD2/", "ksdd2", variant="nested"),
    Tree(
        "mvtec_ad_2",
        "original",
        "mvtec_ad_2",
        MVTEC_AD_2,
        train=("vial/train/good/000_regular.png",),
        stray=(
            "vial/validation/good/000_regular.png",
            "vial/test_private/000_regular.png",
            "vial/test_private_mixed/000_mixed.png",
        ),
        texts={"license.txt": "", "readme.txt": ""},
    ),
    Tree("mvtec_ad_2", "original", "MVTec AD 2", below("mvtec_ad_2", MVTEC_AD_2), variant="nested"),
    bmad("Brain", "BMAD/Brain", "label"),
    bmad("Brain", "Brain_AD", "anomaly_mask", variant="MVFA"),
    bmad("Brain", "bmad_brain", "label", root="Brain", variant="archive"),
    bmad("Brain", "Brain_AD", "label", root="BraTS2021_slice", variant="BMAD's folder"),
    bmad("Liver", "BMAD/Liver", "label"),
    bmad("Liver", "MedAD/Liver_AD", "anomaly_mask", variant="AA-CLIP"),
    bmad("Liver", "Liver_AD", "label", root="hist_DIY", ungood="ungood", variant="BMAD's folder"),
    bmad("Retina_RESC", "BMAD/Retina_RESC", "label"),
    bmad("Retina_RESC", "Retina_RESC_AD", "anomaly_mask", root="Retina_RESC_AD", variant="nested"),
]


def write_image(path: Path, value: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)


def build(tree: Tree, data: Path) -> Path:
    root = data / tree.at
    for name, text in tree.texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    white = {i.mask for i in tree.test if i.mask}
    images = {i.path for i in tree.test} | white | {*tree.train, *tree.stray, *tree.black}
    for name in sorted(images):
        if Path(name).suffix.lower() in {".png", ".jpg", ".jpeg", ".bmp", ".tif"}:
            write_image(root / name, 255 if name in white else 0 if name in tree.black else 128)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"not an image")
    return root


def found(samples: SampleSet) -> list[Item]:
    root = samples.directory
    return sorted(
        (
            Item(s.key, s.class_name, s.label, s.mask and s.mask.relative_to(root).as_posix(), s.defect or None)
            for s in samples.test
        ),
        key=lambda item: item.path,
    )


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.id)
def test_layout_is_read(tree: Tree, tmp_path: Path) -> None:
    directory = build(tree, tmp_path)
    samples = read_samples(CARDS[tree.card], directory)
    assert samples.layout.name == tree.layout
    assert found(samples) == sorted(tree.test, key=lambda item: item.path)
    assert {s.key for s in samples.train} == {*tree.train}
    assert {mask.relative_to(directory).as_posix() for _, mask in samples.normal_masks} == {*tree.black}
    assert [*samples.problems] == []
    named = {file for each in samples.left_out for file in each.files}
    masks = {s.mask.relative_to(directory).as_posix() for s in samples.train if s.mask}
    layout = samples.layout
    tables = {*(layout.labels.file if layout.labels else ()), *((layout.index.file,) if layout.index else ())}
    read = masks | {f"{samples.root}/{table}".strip("/") for table in tables}
    assert named == {*tree.stray, *tree.texts} - read - {*JUNK[:2]}  # what systems leave behind is not named
    assert not samples.warnings or samples.differences


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.id)
def test_layout_is_found_below_the_data_root(tree: Tree, tmp_path: Path) -> None:
    directory = build(tree, tmp_path)
    samples = locate(CARDS[tree.card], tmp_path, None)
    assert samples is not None
    assert samples.layout.name == tree.layout
    assert len(samples.test) == len(tree.test)
    assert directory.is_relative_to(samples.directory)


def test_black_masks_of_normal_images_are_no_orphans(tmp_path: Path) -> None:
    directory = build(MVTEC, tmp_path)
    for path in ("bottle/ground_truth/good/000_mask.png", "metal_nut/ground_truth/good/001.png"):
        write_image(directory / path, 0)
    samples = read_samples(CARDS["mvtec"], directory)
    assert not samples.problems
    assert dict(samples.normal_masks) == {
        "bottle/test/good/000.png": directory / "bottle/ground_truth/good/000_mask.png",
        "metal_nut/test/good/001.png": directory / "metal_nut/ground_truth/good/001.png",
    }
    write_image(directory / "bottle/ground_truth/good/777_mask.png", 0)
    assert [problem.kind for problem in read_samples(CARDS["mvtec"], directory).problems] == ["orphan-mask"]


# ---- what a small tree cannot show


def test_releases_of_covid19_are_told_apart_by_counts(tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    write_image(blank)
    root = tmp_path / "COVID-19 Radiography Database"
    for folder, count in (("NORMAL", 1341), ("COVID", 1200), ("Viral Pneumonia", 5)):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            (root / folder / f"{folder} ({i + 1}).png").hardlink_to(blank)
    samples = read_samples(CARDS["covid19"], root)
    assert samples.layout.name == "release2"
    assert Counter(s.label for s in samples.test) == {0: 1341, 1: 1200}
    for i in range(219, 1200):
        (root / "COVID" / f"COVID ({i + 1}).png").unlink()
    assert read_samples(CARDS["covid19"], root).layout.name == "original"


def build_sdd(root: Path, names: Iterable[str]) -> None:
    """Eight images; of kos02/Part5 the second third has a defect, of kos03/Part1 the first and the last."""
    for name in names:
        write_image(root / f"{name}.jpg")
        label = Image.new("L", (8, 8), 0)
        # Thirds of 8 rows: 0-1, 2-4, 5-7.
        for row in {"kos02/Part5": (4,), "kos03/Part1": (1, 5)}.get(name, ()):
            label.putpixel((3, row), 1)
        label.save(root / f"{name}_label.bmp")


def test_kolektorsdd_is_cut_into_thirds(tmp_path: Path) -> None:
    names = [f"kos{k:02}/Part{p}" for k in (1, 2, 3, 50) for p in (1, 5)]
    for directory, order in (("a", names), ("b", names[::-1])):
        build_sdd(tmp_path / directory, order)
    samples, again = (read_samples(CARDS["sdd"], tmp_path / name) for name in ("a", "b"))
    assert samples.layout.name == "original"
    assert samples.problems == ()
    assert len(samples.samples) == 24
    assert {s.photograph for s in samples.samples} == {f"{name}.jpg" for name in names}
    anomalous = {s.key: s for s in samples.test if s.label}
    assert {*anomalous} == {"kos02/Part5.jpg#1", "kos03/Part1.jpg#0", "kos03/Part1.jpg#2"}
    assert anomalous["kos02/Part5.jpg#1"].piece == (1, 3)
    assert anomalous["kos02/Part5.jpg#1"].mask == tmp_path / "a" / "kos02" / "Part5_label.bmp"
    assert not any(s.label for s in samples.train)
    assert sum(not s.label for s in samples.test) == 6  # a quarter of 21, rounded up
    assert {s.class_name for s in samples.samples} == {COMMUTATORS}
    assert [(s.key, s.split) for s in samples.samples] == [(s.key, s.split) for s in again.samples]


# ---- what the cards say

OVERVIEW = {  # classes, normal, anomalous, levels
    "mvtec": (15, 467, 1258, "image pixel"),
    "visa": (12, 962, 1200, "image pixel"),
    "mpdd": (6, 176, 282, "image pixel"),
    "btad": (3, 451, 290, "image pixel"),
    "sdd": (1, 181, 74, "image pixel"),
    "dagm": (10, 6996, 1054, "image pixel"),
    "dtd_synthetic": (12, 357, 947, "image pixel"),
    "headct": (1, 100, 100, "image"),
    "brainmri": (1, 98, 155, "image"),
    "br35h": (1, 1500, 1500, "image"),
    "covid19": (1, 1341, 219, "image"),
    "isic": (1, 0, 379, "pixel"),
    "cvc_colondb": (1, 0, 380, "pixel"),
    "cvc_clinicdb": (1, 0, 612, "pixel"),
    "kvasir": (1, 0, 1000, "pixel"),
    "endo": (1, 0, 200, "pixel"),
    "tn3k": (1, 0, 614, "pixel"),
}
FURTHER = {  # beyond the papers; of MVTec AD 2 the numbers of the classes are not known
    "sdd2": (1, 894, 110, "industrial"),
    "mvtec_ad_2": (8, 0, 0, "industrial"),
    "bmad_brain": (1, 640, 3075, "medical"),
    "bmad_liver": (1, 833, 660, "medical"),
    "bmad_resc": (1, 1041, 764, "medical"),
}
LAYOUT_COUNTS = {  # where a layout is another test set than the published one
    ("sdd", "original"): (286, 54),
    ("sdd", "adaclip"): (286, 54),
    ("dagm", "adaclip"): (2100, 2100),
    ("covid19", "release2"): (1341, 1200),
    ("covid19", "release3"): (10192, 3616),
    ("cvc_colondb", "original"): (0, 300),
}
THRESHOLD_127 = {
    ("cvc_colondb", "repackaged"),
    ("cvc_colondb", "adaclip"),
    ("cvc_clinicdb", "anomalyclip"),
    ("kvasir", "original"),
    ("endo", "original"),
    ("endo", "adaclip"),
    ("tn3k", "original"),
    ("tn3k", "adaclip"),
}
PROMPTS = {
    ("mvtec", "metal_nut"): "metal nut",
    ("visa", "pipe_fryum"): "pipe fryum",
    ("visa", "chewinggum"): "chewinggum",
    ("mpdd", "bracket_black"): "bracket black",
    ("btad", "01"): "01",
    ("sdd", COMMUTATORS): COMMUTATORS,
    ("dagm", "Class1"): "Class1",
    ("dtd_synthetic", "Woven_001"): "Woven 001",
    **{(card, "brain"): "brain" for card in ("headct", "brainmri", "br35h")},
    ("covid19", "chest"): "chest",
    ("isic", "skin"): "skin",
    **{(card, "colon"): "colon" for card in ("cvc_colondb", "cvc_clinicdb", "kvasir", "endo")},
    ("tn3k", "thyroid"): "thyroid",
    ("sdd2", "metal"): "metal",
    ("mvtec_ad_2", "fruit_jelly"): "fruit jelly",
    ("bmad_brain", "brain"): "brain",
    ("bmad_liver", "liver"): "liver",
    ("bmad_resc", "retina"): "retinal OCT",
}
SHA256 = {
    "mvtec": ("mvtec_anomaly_detection.tar.xz", "cf4313b1"),
    "visa": ("VisA_20220922.tar", "2eb8690c"),
    "btad": ("btad.zip", "461c9387"),
    "sdd": ("KolektorSDD.zip", "65dc6216"),
    "sdd2": ("KolektorSDD2.zip", "edcdb486"),
    "mvtec_ad_2": ("mvtec_ad_2.tar.gz", "c0ded99e"),
    **dict.fromkeys(("bmad_brain", "bmad_liver", "bmad_resc"), ("bmad.zip", "df655def")),
}


def totals(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    pairs = [*counts]
    return sum(n for n, _ in pairs), sum(a for _, a in pairs)


def test_all_cards_are_there() -> None:
    assert {name for name, card in CARDS.items() if not card.beyond} == {*OVERVIEW}
    assert {name for name, card in CARDS.items() if card.beyond} == {*FURTHER}
    assert {tree.card for tree in TREES} | {"sdd"} == {*CARDS}


@pytest.mark.parametrize("name", OVERVIEW)
def test_card_agrees_with_the_published_overview(name: str) -> None:
    card = CARDS[name]
    classes, normal, anomalous, levels = OVERVIEW[name]
    assert len(card.classes) == classes
    assert all(c.normal is not None and c.anomalous is not None for c in card.classes)
    assert totals((c.normal or 0, c.anomalous or 0) for c in card.classes) == (normal, anomalous)
    assert " ".join(card.levels) == levels
    assert ("image" in card.levels) == (normal > 0)
    assert card.domain == ("industrial" if [*OVERVIEW].index(name) < 7 else "medical")
    for layout in card.layouts:
        assert totals(card.expected(layout).values()) == LAYOUT_COUNTS.get((name, layout.name), (normal, anomalous))
        assert layout.mask_threshold == (127 if (name, layout.name) in THRESHOLD_127 else 0)
        assert any(mask for rule in layout.rules for mask in rule.mask) or layout.index or "pixel" not in card.levels


@pytest.mark.parametrize("name", FURTHER)
def test_card_beyond_the_papers_agrees_with_what_is_published(name: str) -> None:
    card = CARDS[name]
    classes, normal, anomalous, domain = FURTHER[name]
    assert (len(card.classes), card.domain) == (classes, domain)
    assert totals((c.normal or 0, c.anomalous or 0) for c in card.classes) == (normal, anomalous)
    assert card.levels == ("image", "pixel")
    assert all(layout.mask_threshold == 0 and layout.counts is None for layout in card.layouts)


def test_every_layout_has_a_tree() -> None:
    layouts = {(name, layout.name) for name, card in CARDS.items() for layout in card.layouts}
    elsewhere = {("sdd", "original"), ("covid19", "release2")}
    assert {(tree.card, tree.layout) for tree in TREES} | elsewhere == layouts


def test_defects_of_mvtec_and_mpdd() -> None:
    assert sum(len(c.defects) for c in CARDS["mvtec"].classes) == 73
    assert all(c.defects for name in ("mvtec", "mpdd") for c in CARDS[name].classes)


def test_train_counts() -> None:
    trains = {name: sum(c.train or 0 for c in card.classes) for name, card in CARDS.items()}
    known = {"mvtec": 3629, "visa": 8659, "btad": 1799, "dagm": 8050, "dtd_synthetic": 1200, "sdd2": 2331}
    assert {name: n for name, n in trains.items() if n} == known


@pytest.mark.parametrize(("card", "class_name"), PROMPTS)
def test_prompt_name(card: str, class_name: str) -> None:
    found = CARDS[card].class_of(class_name)
    assert isinstance(found, ClassCard)
    assert found.prompt_name == PROMPTS[card, class_name]


def test_archives_and_overlaps() -> None:
    known = {name: [*card.download.archives] for name, card in CARDS.items() if card.download}
    found = {name: [(each.file, (each.sha256 or "")[:8]) for each in archives] for name, archives in known.items()}
    assert {name: found[name] for name in SHA256} == {name: [pair] for name, pair in SHA256.items()}
    overlaps = {name: card.overlaps for name, card in CARDS.items() if card.overlaps}
    assert overlaps == {"brainmri": ("br35h",), "br35h": ("brainmri",)}


# ---- real files, where there are some


def real(*parts: str) -> Path:
    path = REAL.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {path.name}")
    return path


@pytest.mark.parametrize(
    ("card", "folder", "normal", "anomalous"), [("brainmri", "BrainMRI", 98, 155), ("headct", "HeadCT", 100, 100)]
)
def test_real_images(card: str, folder: str, normal: int, anomalous: int) -> None:
    samples = read_samples(CARDS[card], real(folder))
    assert Counter(s.label for s in samples.test) == {0: normal, 1: anomalous}
    assert samples.layout.name == "original"
    assert not any(problem.fatal for problem in samples.problems)


def test_real_head_ct_labels() -> None:
    for sample in read_samples(CARDS["headct"], real("HeadCT")).test:
        assert sample.label == (int(Path(sample.key).stem) < 100)


def test_real_kvasir_pairs() -> None:
    samples = read_samples(CARDS["kvasir"], real("Kvasir-SEG-sample"))
    assert len(samples.test) == 5
    assert all(s.label == 1 and s.mask is not None and s.mask.name == s.path.name for s in samples.test)


def test_real_mvtec_images_without_masks() -> None:
    samples = read_samples(CARDS["mvtec"], real("MVTec-bottle-sample"))
    assert Counter((s.label, s.defect) for s in samples.test) == {
        (0, ""): 1,
        (1, "broken_large"): 1,
        (1, "broken_small"): 1,
        (1, "contamination"): 1,
    }
    assert len(samples.train) == 1
    missing = {s.key for s in samples.test if s.label}
    assert missing <= {problem.path for problem in samples.problems}


def test_real_visa_split() -> None:
    with real("VisA-split", "1cls.csv").open(newline="", encoding="utf-8") as file:
        rows = Counter((r["object"], r["split"], r["label"]) for r in csv.DictReader(file))
    for c in CARDS["visa"].classes:
        counts = [rows.pop((c.name, *key), 0) for key in (("train", "normal"), ("test", "normal"), ("test", "anomaly"))]
        assert counts == [c.train, c.normal, c.anomalous]
    assert not rows
