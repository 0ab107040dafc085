"""What people write for normal and anomalous, for masks, and for train and test: one table of spellings.

Case, blanks, `-` and `_` do not count. A word that is in no table means nothing; nobody guesses what it could mean.
"""

from typing import Final

from benchmark.data.cards import Split
from benchmark.data.tree import plain


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NORMAL: Final = _words(
    "normal normals good goods ok okay io pass passed accepted intact regular conforming undamaged clean flawless "
    "defectfree faultless nodefect nodefects nondefective notdefective nonanomalous nofault noerror noanomaly nocrack "
    "nodamage nontumor notumor oks accept acceptable qualified golden inlier inliers nominal conform perfect goodpart "
    "goodparts okpart okparts okteil okteile goodimages okimages 正常 良品 合格"
)
"""Names of normal images, in folders as in tables, in the form of `spelled`."""
ANOMALOUS: Final = _words(
    "abnormal abnormals abnormality abnormalities anomalous anomaly anomalies anomal outlier outliers bad ng nok nio "
    "ko nogood notgood notok notpass fail failed fails failure defect defects defective defected faulty fault faults "
    "damaged damage broken reject rejected rejects nonconforming bads ngs noks unacceptable unqualified imperfect "
    "schlecht defekt défaut défauts defaut defauts badpart badparts ngpart ngparts nokteil nokteile badimages ngimages "
    "异常 不良品 不良 不合格"
)
"""Names of anomalous images, in folders as in tables, in the form of `spelled`."""
NO: Final = _words("no n 0 false neg negative healthy uninfected gut reference")
"""Words that mean normal where the question is whether an image is anomalous; as the name of a folder they may not."""
YES: Final = _words("yes y 1 true pos positive unhealthy diseased infected")
"""Words that mean anomalous where the question is whether an image is anomalous, as `NO`."""
MASKS: Final = _words(
    "mask masks groundtruth groundtruths gt gts label labels annotation annotations segmentation segmentations seg "
    "anomalymask anomalymasks defectmask defectmasks truth ann anns annot annots lbl lbls msk msks maske masken masque "
    "masques segm segs target targets 掩码 掩膜 标注"
)
"""Names of folders of masks, in the form of `spelled`."""
SURE_NORMAL: Final = _words("normal normals good goods ok oks okay healthy uninfected undamaged intact flawless")
"""Words for normal that stand in no name of a kind of defect, as `clean` does in `clean_cut`."""
SURE_MASKS: Final = _words("mask masks gt gts groundtruth groundtruths segmentation segmentations")
"""Words for masks that end no name of a kind of defect, as `label` does in `wrong_label`."""
TRAIN: Final = _words("train training trainset trainingset traindata trainingdata trainimages")
TEST: Final = _words("test tests testing testset testingset testdata testingdata testimages")
VALIDATION: Final = _words(
    "val valid validation dev eval evaluation valset validset validationset devset evalset valdata validationdata "
    "valimages"
)
"""Names of folders of images for choosing settings; they are tested where there are no others."""
IMAGES: Final = _words(
    "image images img imgs photo photos picture pictures pic pics rgb original originals input inputs data dataset"
)
"""Names of folders that say no more than that images are in them; they may also stand beside an image's own name."""
FILLERS: Final = _words(
    "sample samples set part parts piece pieces product products item items object objects class all binary pixel "
    "pixels file files jpeg jpg png bmp tif"
)
"""Words that change nothing in a name of several words."""
OF_PIXELS: Final = _words("binary pixel pixels")
"""Words by which a name of anomalous or normal images is that of their masks, as `bad_binary`."""
NEGATIONS: Final = _words("no non not without sans ohne")
NEGATING: Final = ("un", "im", "in", "non", "not", "no", "sans", "ohne", "不")
"""What begins a word that is the opposite of the rest."""
NO_KIND: Final = _words(
    "unlabeled unlabelled unsorted unknown undefined ignore ignored exclude excluded map maps heatmap heatmaps "
    "overlay overlays viz annotated result results prediction predictions pred preds output outputs visualization "
    "visualizations vis backup backups thumbnail thumbnails thumb thumbs preview previews doc docs tmp temp trash "
    "cache logs augmented"
)
"""Names of folders whose images are no kind of defect."""


def spelled(text: str) -> str:
    """Return a word in the one form in which words are compared; a number in its shortest form (`1.0` is `1`)."""
    try:
        number = float(text)
    except ValueError:
        return plain(text.strip())
    return f"{number:g}"


def label_of(text: str) -> int | None:
    """Return what a word says of an image: 0 normal, 1 anomalous, None neither."""
    word = spelled(text)
    if word in NORMAL | NO:
        return 0
    return 1 if word in ANOMALOUS | YES else None


def split_of(text: str) -> Split | None:
    """Return the split that a word names; None where it names neither."""
    word = spelled(text)
    if word in TRAIN:
        return "train"
    return "test" if word in TEST else None
