"""How many parameters a record says that scored the images."""

import open_clip
import pytest
import torch
from support.stages import Staged, StagedOptions

from benchmark.clip.architectures import architecture_config
from benchmark.clip.backbone import Backbone
from benchmark.records.records import Parameters
from benchmark.running.worker import parameters_of
from methods.anomalyclip import AnomalyClip, AnomalyClipOptions
from methods.clip import Clip, ClipOptions
from methods.coop import CoOp, CoOpOptions


@pytest.mark.parametrize(
    ("architecture", "millions"),
    [("ViT-L-14-336-quickgelu", 427.94), ("ViT-B-16-plus-240", 208.38)],  # docs/model_profile.csv of open_clip
)
def test_frozen_are_all_parameters_of_clip(
    architecture: str, millions: float, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):  # no memory, no time
        monkeypatch.setattr(tiny, "model", open_clip.CLIP(**architecture_config(architecture)))
    found = parameters_of(Clip(tiny, ClipOptions()), tiny)
    assert (round(found.frozen / 1e6, 2), found.learned) == (millions, 0)


def test_learned_are_those_that_the_paper_trains(tiny: Backbone) -> None:
    """CoOp: 16 vectors. AnomalyCLIP: 12 vectors for each of two prompts, and 4 tokens in each further text block."""
    width, blocks = tiny.text_width, tiny.text_blocks
    assert parameters_of(CoOp(tiny, CoOpOptions()), tiny).learned == 16 * width
    anomalyclip = AnomalyClip(tiny, AnomalyClipOptions())
    assert parameters_of(anomalyclip, tiny).learned == (2 * 12 + (min(9, blocks) - 1) * 4) * width


def test_a_memory_is_told_beside_the_parameters(tiny: Backbone) -> None:
    method = Staged(tiny, StagedOptions())
    assert parameters_of(method, tiny).fitted == 0
    method.learned.memory = torch.zeros(8, tiny.width)
    found = parameters_of(method, tiny)
    assert (found.learned, found.fitted) == (tiny.width + tiny.vision_width, 8 * tiny.width)


def test_a_record_names_a_memory_only_where_there_is_one() -> None:
    """Records of methods without one are those of earlier versions, byte for byte."""
    assert Parameters(frozen=5, learned=2).model_dump_json() == '{"frozen":5,"learned":2}'
    known = Parameters(frozen=5, learned=0, fitted=7)
    assert known.model_dump_json() == '{"frozen":5,"learned":0,"fitted":7}'
    assert Parameters.model_validate_json(known.model_dump_json()) == known
