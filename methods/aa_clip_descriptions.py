"""The prompts of AA-CLIP's published code: states, templates, and what it calls the classes of the datasets."""

from benchmark.contract import ClassName
from methods.prompts import state_prompts

NORMAL_STATES = ("{}", "a {}", "the {}")
ABNORMAL_STATES = ("a damaged {}", "a broken {}", "a {} with flaw", "a {} with defect", "a {} with damage")
TEMPLATES = ("{}.", "a photo of {}.")

DESCRIPTIONS = {
    "mvtec": {
        "bottle": "dark bottle",
        "cable": "top view of three cables",
        "capsule": "black and orange capsule",
        "carpet": "gray carpet",
        "grid": "metal or plastic mesh",
        "hazelnut": "single brown hazelnut",
        "leather": "brown leather",
        "metal_nut": "metal nut which has four notched edges",
        "pill": "oval white pill with small red speckles and the letters 'FF' engraved",
        "screw": "screw",
        "tile": "speckled tile surface",
        "toothbrush": "toothbrush head",
        "transistor": "a three-legged transistor placed vertically",
        "wood": "wood surface",
        "zipper": "a black zipper",
    },
    "visa": {
        "candle": "candle",
        "capsules": "capsules",
        "cashew": "cashew nut",
        "chewinggum": "chewing gum",
        "fryum": "wheel-shaped fryum snack",
        "macaroni1": "orange macaroni",
        "macaroni2": "scattered yellow macaroni",
        "pcb1": "dual ultrasonic distance sensor pcb module",
        "pcb2": "integrated circuits board",
        "pcb3": "infrared sensor pcb module",
        "pcb4": "battery charging pcb module",
        "pipe_fryum": "pipe-shaped fryum",
    },
    "btad": {
        "01": "Bright concentric rings in neon yellow and blue tones against a dark blue background, resembling a "
        "stylized wave or energy field radiating outward.",
        "02": "vertical fabric lines in warm, dusty pink and beige tones",
        "03": "oval concentric circular rings in gradient shades of blue and white",
    },
    "mpdd": {
        "bracket_black": "black ornamental metal bracket with spiral design attached to a rectangular frame",
        "bracket_brown": "brown L-shaped metal bracket with smooth, glossy finish and multiple mounting holes along "
        "its arms",
        "bracket_white": "white, elongated triangular metal bracket with a smooth, matte finish",
        "connector": "metal clamps with black adjustment knobs",
        "metal_plate": "blue rectangular metal plate with a notch on one side",
        "tubes": "scattered metal objects",
    },
}
"""Descriptions of the published code by dataset and by the name of the class's folder."""

OF_ALL_CLASSES = dict.fromkeys(("cvc_clinicdb", "cvc_colondb", "kvasir"), "colon endoscopy image")
"""Those of datasets that have one class, whatever its name. The code also has `CVC-300`, and of the collection BMAD the
sets Brain, Liver and Retina, each a "scan"; there are no cards for these."""


def description(name: ClassName) -> str:
    """Return what the published code calls a class, or its name if the code does not know it."""
    known = DESCRIPTIONS.get(name.dataset, {}).get(name.folder)
    return known or OF_ALL_CLASSES.get(name.dataset) or str(name)


def prompts(words: str) -> tuple[list[str], list[str]]:
    """Return the 6 normal and the 10 abnormal prompts of a class: each state of it in each template."""
    return state_prompts(TEMPLATES, words, normal=NORMAL_STATES, abnormal=ABNORMAL_STATES)
