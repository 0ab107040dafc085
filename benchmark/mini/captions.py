"""Captions for the training of the mini CLIP: states, names and templates with the words that the methods use."""

from collections import defaultdict

import numpy as np

from benchmark.mini.catalogue import PAPERS
from benchmark.mini.families import FAMILIES
from methods.prompts import imagenet_templates

NORMAL = (
    "normal {}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ABNORMAL = (
    "anomalous {}",
    "abnormal {}",
    "damaged {}",
    "defective {}",
    "{} with flaw",
    "{} with defect",
    "{} with damage",
)
"""The states of WinCLIP (Jeong et al., CVPR 2023, table 1) and the words of the other methods."""

IMAGENET = imagenet_templates()
TEMPLATES = ("A photo of a {}.", "a photo of a {}.", "a photo of the {}.", "{}.", "a cropped photo of a {}.")
OBJECT = "object"

# Names that mean nothing keep the states from leaning on names that were seen: consonant, vowel, consonant, vowel.
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def nonsense(rng: np.random.Generator) -> str:
    """Return an invented name of two to three syllables."""
    letters = (rng.choice(list(part)) for _ in range(rng.integers(2, 4)) for part in (_CONSONANTS, _VOWELS))
    return "".join(map(str, letters))


def family_names() -> dict[str, list[str]]:
    """Return the names of each family: its own, and those of the classes that it represents."""
    names = defaultdict(list, {family: [family.replace("_", " ")] for family in FAMILIES})
    for classes in PAPERS.values():
        for class_name, look in classes.items():
            names[look.family].append(class_name.replace("_", " "))
    return {family: list(dict.fromkeys(known)) for family, known in names.items()}


def caption(rng: np.random.Generator, name: str, *, label: int | None) -> str:
    """Return a caption of a normal (0) or anomalous (1) image; without a label it names no state."""
    states = ("{}",) if label is None else (NORMAL, ABNORMAL)[label]
    noun = str(rng.choice(states)).format(name)
    if rng.random() < 0.5:
        return str(rng.choice(TEMPLATES)).format(noun)
    return IMAGENET[rng.integers(len(IMAGENET))](noun)


def pair(rng: np.random.Generator, name: str) -> tuple[str, str]:
    """Return a normal and an abnormal prompt of the same template."""
    normal, abnormal = str(rng.choice(NORMAL)).format(name), str(rng.choice(ABNORMAL)).format(name)
    if rng.random() < 0.5:
        template = str(rng.choice(TEMPLATES))
        return template.format(normal), template.format(abnormal)
    imagenet = IMAGENET[rng.integers(len(IMAGENET))]
    return imagenet(normal), imagenet(abnormal)
