"""Every registered method holds to the contract."""

from typing import Any

import pytest

from benchmark.authoring.check_images import random_images
from benchmark.authoring.conformance import check_method
from benchmark.authoring.fake_gpu import run_on_fake_gpu
from benchmark.authoring.findings import render
from benchmark.authoring.method_under_test import MethodUnderTest
from benchmark.clip.backbone import Backbone
from benchmark.contract import Method
from benchmark.registry import all_methods
from methods.adaclip import AdaClip, AdaClipOptions
from methods.winclip import WinClip, WinClipOptions

SUBJECTS = [pytest.param(method, method.Options(), id=name) for name, method in all_methods().items()]
SUBJECTS.append(pytest.param(WinClip, WinClipOptions(shots=2), id="winclip-2-shot"))
SUBJECTS.append(pytest.param(AdaClip, AdaClipOptions(image_score="cls"), id="adaclip-without-fusion"))
READ_VALUES = ("adaclip", "mrad_clip", "mrad_ft", "mrad_tf")
"""The methods that need values on the way, which a pretended GPU does not have: K-means runs on the CPU, and how many
regions are remembered depends on the masks."""


@pytest.mark.parametrize(("method", "options"), SUBJECTS)
def test_it_keeps_the_contract(method: type[Method], options: Any, tiny: Backbone) -> None:
    findings = check_method(method, options, tiny, random_images)
    assert all(finding.passed for finding in findings), render(findings)


@pytest.mark.parametrize(("method", "options"), SUBJECTS)
def test_it_leaves_no_tensor_on_the_cpu_when_the_backbone_is_on_a_gpu(
    method: type[Method], options: Any, tiny: Backbone, request: pytest.FixtureRequest
) -> None:
    tested = MethodUnderTest(method, options, tiny, random_images)
    found = run_on_fake_gpu(tested, dtypes=("float32", "float16"))
    stopped = "not checked to the end" if request.node.callspec.id in READ_VALUES else "leaves no tensor on the CPU"
    assert found.startswith(stopped)
