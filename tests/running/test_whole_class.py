"""Methods that make the image scores of a class from all of its test images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from support.running import run_jobs

from benchmark.clip.backbone import Backbone
from benchmark.clip.weights import parse_backbone
from benchmark.common.settings import Settings
from benchmark.contract import ClassName, Features, Method, Prediction, VisionSpec
from benchmark.data.samples import SampleSet
from benchmark.errors import ContractError
from benchmark.protocol import Protocol
from benchmark.records.cells import backbone_id
from benchmark.records.records import path_of
from benchmark.running.class_run import ClassScores, Participant
from benchmark.running.evaluate import ClassOutcomes, evaluate
from benchmark.running.planning import Setting, plan


@dataclass(frozen=True)
class Options:
    whole: bool = True


class Finishing(Method):
    """Scores an image by the mean of its score and its map's highest value as a share of the class's range."""

    name, title, paper, smoothing = "finishing", "Finishing", "a test", 2.0
    Options = Options

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.maps: list[torch.Tensor] = []
        self.seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, ClassName]] = []

    def vision(self) -> VisionSpec:
        return VisionSpec(self.backbone.image_size)

    @classmethod
    def scores_whole_class(cls, options: Options) -> bool:
        return options.whole

    def predict(self, features: Features, class_names: Sequence[ClassName]) -> Prediction:
        self.maps.append(features.image[:, :16].reshape(-1, 4, 4))
        return Prediction(features.image[:, 0], self.maps[-1])

    def class_scores(
        self, scores: torch.Tensor, lowest: torch.Tensor, highest: torch.Tensor, class_name: ClassName
    ) -> torch.Tensor:
        self.seen.append((scores, lowest, highest, class_name))
        return finished(scores, highest)


def finished(scores: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
    return (scores + (highest - highest.min()) / (highest.max() - highest.min())) / 2


class Misshapen(Finishing):
    def class_scores(self, scores: torch.Tensor, *more: Any) -> torch.Tensor:
        return scores[:, None]


class Listed(Finishing):
    def class_scores(self, scores: torch.Tensor, *more: Any) -> Any:
        return scores.tolist()


class Undefined(Finishing):
    def class_scores(self, scores: torch.Tensor, *more: Any) -> torch.Tensor:
        return scores.where(scores > scores.min(), torch.nan)


class Exits(Finishing):
    def class_scores(self, scores: torch.Tensor, *more: Any) -> torch.Tensor:
        raise SystemExit(3)


def scored(methods: Sequence[Method], data: SampleSet, tiny: Backbone) -> list[ClassOutcomes]:
    classes = frozenset(sample.class_name for sample in data.test)
    taking_part = [Participant(method, classes) for method in methods]
    settings = Settings(Path("unused"), batch_size=4, workers=0)
    return list(evaluate(taking_part, tiny, data, protocol=Protocol(), settings=settings))


@pytest.fixture
def data(datasets: list[SampleSet]) -> SampleSet:
    """Whose anomalous images are of one kind."""
    samples = tuple(replace(sample, defect="crack" * sample.label) for sample in datasets[0].samples)
    return replace(datasets[0], samples=samples)


@pytest.mark.parametrize("masks", [True, False])
def test_the_scores_of_a_class_are_made_at_its_end(
    data: SampleSet, tiny: Backbone, monkeypatch: pytest.MonkeyPatch, masks: bool
) -> None:
    monkeypatch.setattr(SampleSet, "has_masks", masks)
    method, plain = Finishing(tiny, Options()), Finishing(tiny, Options(whole=False))
    (done,) = scored([method, plain], data, tiny)
    found, before = done.outcomes[0], done.outcomes[1]
    assert isinstance(found, ClassScores)
    assert isinstance(before, ClassScores)
    assert found.images is not None
    assert before.images is not None
    assert not plain.seen
    ((scores, lowest, highest, name),) = method.seen
    assert (name, name.folder, name.dataset) == ("metal nut", data.test[0].class_name, "one")
    assert scores.dtype == torch.float64
    assert scores.tolist() == before.images.scores.tolist()
    size = (tiny.image_size, tiny.image_size)
    grids = torch.cat(method.maps)[:, None].double()
    resized = torch.nn.functional.interpolate(grids, size=size, mode="bilinear")[:, 0].numpy()
    evaluated = [gaussian_filter(each, 2.0) for each in resized]
    np.testing.assert_allclose(lowest, [each.min() for each in evaluated], atol=1e-6)
    np.testing.assert_allclose(highest, [each.max() for each in evaluated], atol=1e-6)
    expected = finished(scores, highest)
    assert found.images.scores.tolist() == expected.tolist()
    auroc = roc_auc_score(found.images.labels, expected)
    assert found.result.metrics["image_auroc"] == pytest.approx(auroc, abs=1e-12)
    assert found.result.defects["crack"].metrics["image_auroc"] == pytest.approx(auroc, abs=1e-12)
    assert auroc != before.result.metrics["image_auroc"]
    for key, value in before.result.metrics.items():
        if key.startswith("pixel"):
            assert found.result.metrics[key] == value
            assert (value is None) != masks


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Misshapen, r"class_scores of 13 images of 'metal nut' have the shape \(13, 1\), not \(13,\)"),
        (Listed, "class_scores returns a list, not a Tensor"),
        (Undefined, "class_scores of 'metal nut': 1 of 13 scores are NaN or infinite"),
        (Exits, "called for the end of the process"),
    ],
)
def test_wrong_scores_of_a_class_end_their_method_alone(
    data: SampleSet, tiny: Backbone, wrong: type[Finishing], said: str
) -> None:
    (done,) = scored([wrong(tiny, Options()), Finishing(tiny, Options())], data, tiny)
    with pytest.raises((ContractError, RuntimeError), match=said):
        raise done.outcomes[0]  # type: ignore[misc]
    assert isinstance(done.outcomes[1], ClassScores)


def test_the_record_says_that_the_whole_class_was_scored(data: SampleSet, tmp_path: Path) -> None:
    setting = Setting(backbone_id(parse_backbone("tiny:random"), dtype="float32"), Protocol())
    chosen = [(Finishing, Options()), (Finishing, Options(whole=False))]
    jobs = plan(chosen, [data], setting, seeds=[0]).jobs
    # However small a task is, a class is in one.
    settings = Settings(tmp_path / "results", batch_size=4, workers=0, task_images=2)
    records = run_jobs(jobs, settings)
    assert [record.scores_whole_class for record in records] == [True, False]
    assert [record.status for record in records] == ["done", "done"]
    text = path_of(settings.results, records[0].id).read_text(encoding="utf-8")
    assert '"scores_whole_class": true' in text
