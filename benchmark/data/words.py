"""What people write for normal and anomalous, for masks, and for train and test: one table of spellings.

Case, blanks, `-` and `_` do not count. A word that is in no table means nothing; nobody guesses what it could mean.
"""

from typing import Final

from benchmark.data.cards import Split
from benchmark.data.tree import plain


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NORMAL: Final = _words(
    "normal normals good ok okay pass passed healthy intact regular conforming undamaged uninfected clean flawless "
    "defectfree faultless nodefect nodefects nondefective notdefective nonanomalous nofault noerror noanomaly nocrack "
    "nodamage nontumor notumor"
)
"""Names of normal images, in folders as in tables, in the form of `spelled`."""
ANOMALOUS: Final = _words(
    "abnormal abnormals anomalous anomaly anomalies anomal outlier bad ng nok ko nogood notgood notok notpass fail "
    "failed fails failure defect defects defective defected faulty fault faults damaged damage broken reject rejected "
    "rejects unhealthy diseased nonconforming"
)
"""Names of anomalous images, in folders as in tables, in the form of `spelled`."""
NO: Final = _words("no n 0 false neg negative")
"""Answers that mean normal where the question is whether an image is anomalous."""
YES: Final = _words("yes y 1 true pos positive")
"""Answers that mean anomalous where the question is whether an image is anomalous."""
MASKS: Final = _words(
    "mask masks groundtruth groundtruths gt gts label labels annotation annotations segmentation segmentations seg "
    "anomalymask anomalymasks defectmask defectmasks truth"
)
"""Names of folders of masks, in the form of `spelled`."""
MASK_SUFFIXES: Final = ("_mask", "_masks", "_gt", "_label", "_labels", "_seg", "_segmentation", "_groundtruth")
"""What follows an image's name in that of its mask; the case and `-` or a blank in place of `_` do not count."""
TRAIN: Final = _words("train training")
TEST: Final = _words("test testing")


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
