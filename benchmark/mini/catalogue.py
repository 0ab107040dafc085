"""The families of images and kinds of defects that represent the classes and defects of each dataset."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """The family of a class, and the kinds of each of its named defects, which are painted one after another."""

    family: str
    defects: Mapping[str, tuple[str, ...]]


KIND_OF: dict[str, tuple[str, ...]] = {
    "anomalous": ("deformation",),
    "bend_and_parts_mismatch": ("bend",),
    "bent": ("bend",),
    "bent_lead": ("bend",),
    "bent_wire": ("bend",),
    "broken": ("cut",),
    "broken_large": ("missing_part",),
    "broken_small": ("hole",),
    "broken_teeth": ("hole",),
    "cable_swap": ("colour",),
    "color": ("colour",),
    "combined": ("scratch", "contamination"),
    "contamination": ("contamination",),
    "crack": ("crack",),
    "cut": ("cut",),
    "cut_inner_insulation": ("cut",),
    "cut_lead": ("missing_part",),
    "cut_outer_insulation": ("missing_part",),
    "damaged_case": ("crack",),
    "defective": ("deformation",),
    "defective_painting": ("stain",),
    "fabric_border": ("thread",),
    "fabric_interior": ("rough",),
    "faulty_imprint": ("print",),
    "flip": ("displaced",),
    "fold": ("bend",),
    "glue": ("stain",),
    "glue_strip": ("stain",),
    "gray_stroke": ("colour",),
    "hole": ("hole",),
    "liquid": ("stain",),
    "major_rust": ("rust",),
    "manipulated_front": ("deformation",),
    "metal_contamination": ("contamination",),
    "misplaced": ("displaced",),
    "missing_cable": ("hole",),
    "missing_wire": ("hole",),
    "oil": ("stain",),
    "parts_mismatch": ("displaced",),
    "pill_type": ("colour",),
    "poke": ("hole",),
    "poke_insulation": ("hole",),
    "print": ("print",),
    "rough": ("rough",),
    "scratch": ("scratch",),
    "scratch_head": ("scratch",),
    "scratch_neck": ("scratch",),
    "scratches": ("scratch",),
    "split_teeth": ("cut",),
    "squeeze": ("deformation",),
    "squeezed_teeth": ("deformation",),
    "thread": ("thread",),
    "thread_side": ("missing_part",),
    "thread_top": ("rough",),
    "total_rust": ("rust", "rust"),
}
"""Names of defects of MVTec AD and MPDD, with the most similar kinds."""


def _named(family: str, *defects: str) -> Look:
    return Look(family, {name: KIND_OF[name] for name in defects})


def _plain(family: str, *kinds: str) -> Look:
    """Return a class whose defects have no names: it has one defect of each kind."""
    return Look(family, {kind: (kind,) for kind in kinds})


MVTEC = {
    "bottle": _named("bottle", "broken_large", "broken_small", "contamination"),
    "cable": _named(
        "cable",
        *("bent_wire", "cable_swap", "combined", "cut_inner_insulation", "cut_outer_insulation"),
        *("missing_cable", "missing_wire", "poke_insulation"),
    ),
    "capsule": _named("capsule", "crack", "faulty_imprint", "poke", "scratch", "squeeze"),
    "carpet": _named("carpet", "color", "cut", "hole", "metal_contamination", "thread"),
    "grid": _named("grid", "bent", "broken", "glue", "metal_contamination", "thread"),
    "hazelnut": _named("hazelnut", "crack", "cut", "hole", "print"),
    "leather": _named("leather", "color", "cut", "fold", "glue", "poke"),
    "metal_nut": _named("metal_nut", "bent", "color", "flip", "scratch"),
    "pill": _named("pill", "color", "combined", "contamination", "crack", "faulty_imprint", "pill_type", "scratch"),
    "screw": _named("screw", "manipulated_front", "scratch_head", "scratch_neck", "thread_side", "thread_top"),
    "tile": _named("tile", "crack", "glue_strip", "gray_stroke", "oil", "rough"),
    "toothbrush": Look("toothbrush", {"defective": ("deformation",)}),
    "transistor": _named("transistor", "bent_lead", "cut_lead", "damaged_case", "misplaced"),
    "wood": _named("wood", "color", "combined", "hole", "liquid", "scratch"),
    "zipper": _named(
        "zipper",
        *("broken_teeth", "combined", "fabric_border", "fabric_interior", "rough", "split_teeth", "squeezed_teeth"),
    ),
}
MVTEC_GREY = frozenset({"grid", "screw", "zipper"})
"""Classes with one channel."""
VISA = {
    "candle": _plain("candle", "missing_part", "hole", "stain", "contamination", "thread", "deformation", "scratch"),
    "capsules": _plain("capsules", "stain", "hole", "missing_part", "colour", "contamination", "scratch", "crack"),
    "cashew": _plain("cashew", "hole", "scratch", "missing_part", "stain", "colour", "crack", "contamination"),
    "chewinggum": _plain("chewinggum", "missing_part", "scratch", "stain", "crack", "hole", "deformation", "cut"),
    "fryum": _plain("fryum", "missing_part", "colour", "stain", "scratch", "crack", "contamination", "hole"),
    "macaroni1": _plain("macaroni1", "missing_part", "stain", "scratch", "hole", "colour", "crack", "contamination"),
    "macaroni2": _plain("macaroni2", "crack", "missing_part", "stain", "colour", "scratch", "hole", "contamination"),
    "pcb1": _plain("pcb_green", "displaced", "scratch", "bend", "missing_part", "contamination", "stain", "hole"),
    "pcb2": _plain("pcb_blue", "scratch", "displaced", "missing_part", "bend", "stain", "contamination", "cut"),
    "pcb3": _plain("pcb_red", "bend", "missing_part", "scratch", "displaced", "hole", "stain", "rust"),
    "pcb4": _plain("pcb_black", "missing_part", "contamination", "displaced", "scratch", "bend", "rust", "thread"),
    "pipe_fryum": _plain("pipe_fryum", "crack", "missing_part", "stain", "scratch", "colour", "hole", "contamination"),
}
MPDD = {
    "bracket_black": _named("bracket_black", "hole", "scratches"),
    "bracket_brown": _named("bracket_brown", "bend_and_parts_mismatch", "parts_mismatch"),
    "bracket_white": _named("bracket_white", "defective_painting", "scratches"),
    "connector": _named("connector", "parts_mismatch"),
    "metal_plate": _named("metal_plate", "major_rust", "scratches", "total_rust"),
    "tubes": _named("tubes", "anomalous"),
}
BTAD = {
    "01": _plain("disc_plate", "scratch", "stain", "contamination", "crack", "hole", "rough"),
    "02": _plain("planks", "scratch", "hole", "stain", "cut", "crack", "contamination"),
    "03": _plain("casting", "contamination", "scratch", "rust", "stain", "cut", "missing_part"),
}
SDD = {"electrical commutators": _plain("commutator", "crack", "cut", "scratch")}
_DAGM_KINDS = (
    *(("stain", "scratch", "rough"), ("scratch", "cut", "stain"), ("deformation", "thread", "colour")),
    *(("cut", "bend", "missing_part"), ("rough", "contamination", "stain"), ("stain", "thread", "crack")),
    *(("scratch", "rough", "hole"), ("colour", "crack", "thread"), ("bend", "stain", "missing_part")),
    ("crack", "cut", "contamination"),
)
_DAGM_FAMILIES = (
    *("granular", "brushed", "corrugated", "hexagonal", "streaked"),
    *("ripples", "cloudy", "speckled", "dimpled", "crackled"),
)
DAGM = {
    f"Class{i + 1}": _plain(family, *kinds)
    for i, (family, kinds) in enumerate(zip(_DAGM_FAMILIES, _DAGM_KINDS, strict=True))
}
_DTD_FAMILIES = {
    "Blotchy_099": "blotchy",
    "Fibrous_183": "fibrous",
    "Marbled_078": "marbled",
    "Matted_069": "matted",
    "Mesh_114": "mesh",
    "Perforated_037": "perforated",
    "Stratified_154": "stratified",
    "Woven_001": "woven_basket",
    "Woven_068": "woven_twill",
    "Woven_104": "woven_plain",
    "Woven_125": "woven_herringbone",
    "Woven_127": "woven_satin",
}
_DTD_KINDS = ("thread", "colour", "deformation", "displaced", "missing_part", "bend", "contamination")
DTD = {name: _plain(family, *_DTD_KINDS) for name, family in _DTD_FAMILIES.items()}
MEDICAL = {
    "headct": {"brain": _plain("head_ct", "hemorrhage")},
    "brainmri": {"brain": _plain("brain_mri", "tumour")},
    "br35h": {"brain": _plain("brain_mri", "tumour")},
    "covid19": {"chest": _plain("chest_xray", "opacity")},
    "isic": {"skin": _plain("skin", "lesion")},
    "cvc_colondb": {"colon": _plain("colon", "polyp")},
    "cvc_clinicdb": {"colon": _plain("colon", "polyp")},
    "kvasir": {"colon": _plain("colon", "polyp")},
    "endo": {"colon": _plain("colon", "polyp")},
    "tn3k": {"thyroid": _plain("thyroid", "nodule")},
}
PAPERS: dict[str, dict[str, Look]] = {
    "mvtec": MVTEC,
    "visa": VISA,
    "mpdd": MPDD,
    "btad": BTAD,
    "sdd": SDD,
    "dagm": DAGM,
    "dtd_synthetic": DTD,
    **MEDICAL,
}
"""The classes of the datasets of the papers, by name of the card, then by name of the class. The captions on which the
mini backbone was trained have the names of these."""
FURTHER: dict[str, dict[str, Look]] = {
    "sdd2": {"metal": _plain("commutator", "scratch", "stain", "crack")},
    "mvtec_ad_2": {
        "fabric": _plain("woven_plain", "cut", "stain"),
        "sheet_metal": _plain("brushed", "scratch", "deformation"),
        "walnuts": _plain("hazelnut", "crack", "contamination"),
    },
    "bmad_brain": {"brain": _plain("brain_mri", "tumour")},
    "bmad_liver": {"liver": _plain("liver_ct", "nodule")},
    "bmad_resc": {"retina": _plain("retina_oct", "nodule")},
}
"""Those of the datasets beyond the papers, some of their classes. They came after the mini backbone was trained."""
CATALOGUE = PAPERS | FURTHER
"""All of them."""
