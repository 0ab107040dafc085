"""The checks of the contract: what every method must satisfy, whatever it computes.

`bench check-method` runs them on a few images of the mini suite, `tests/methods/test_contract.py` on random images.
The checks cannot find out whether a higher score means a more anomalous image.
"""

from typing import Any

import torch

from benchmark.authoring import (
    checks_of_augmentation,
    checks_of_declaration,
    checks_of_encoding,
    checks_of_predictions,
    checks_of_training,
)
from benchmark.authoring.check_images import ImageSource
from benchmark.authoring.fake_gpu import CLASS_SCORES, run_on_fake_gpu
from benchmark.authoring.findings import Check, Finding, run_check
from benchmark.authoring.method_under_test import MethodUnderTest
from benchmark.clip import Backbone
from benchmark.contract import Learner, Method


def check_method(method: type[Method], options: Any, backbone: Backbone, source: ImageSource) -> list[Finding]:
    """Run every check that applies to a method with these options.

    The first checks (metadata, vision, training, references, CLIP's pass, shapes) are needed by the others: if one of
    them fails, no further check is run.

    Args:
        method: The method's class. It does not have to be registered.
        options: Instance of the method's `Options`.
        backbone: A small backbone. A method that breaks the contract may change it.
        source: Returns the images of the check, for instance `random_images`.
    """
    findings = [check_declaration(method)]
    if not findings[0].passed:
        return findings
    with torch.random.fork_rng(devices=[]):
        tested = MethodUnderTest(method, options, backbone, source)
        for check in (*_FIRST, *_OTHERS):
            findings += run_check(check, tested, method)
            tested.failed = {finding.check for finding in findings if not finding.passed}
            if check in _FIRST and not findings[-1].passed:
                break
    return findings


def check_declaration(method: type[Method]) -> Finding:
    """Check the attributes that a method declares. This check needs no backbone."""
    (finding,) = run_check(_METADATA, method, method)
    return finding


def _learns(tested: MethodUnderTest) -> bool:
    return issubclass(tested.method, Learner)


def _can_be_resumed(tested: MethodUnderTest) -> bool:
    """Return whether training has several stages, whose losses can be computed and whose state can be loaded."""
    return _learns(tested) and len(tested.stages) > 1 and not tested.failed & {"losses", "state dict"}


_METADATA = Check(
    "metadata",
    checks_of_declaration.metadata,
    "the fields and their meaning are in benchmark/contract.py, class Method",
)
_FIRST = (
    Check("vision", checks_of_declaration.vision, "vision() depends on the backbone: use its blocks, image_size, …"),
    Check(
        "training",
        checks_of_training.stages,
        "training_vision(), and vision of a Stage, is a VisionSpec of what the losses read, by default vision(): "
        "blocks and image_size of the backbone, no windows; stages() returns the same for any names of datasets",
        _learns,
    ),
    Check(
        "references",
        checks_of_predictions.references,
        "see_references replaces what it kept before by the references that it is given",
        lambda tested: tested.shots > 0,
    ),
    Check(
        "CLIP's pass",
        checks_of_encoding.own_pass,
        "a VisionSpec with encoded=True, the default, gives features.image and image_raw; without it read the images",
        checks_of_encoding.leaves_out_the_pass,
    ),
    Check(
        "shapes",
        checks_of_predictions.shapes,
        "predict returns Prediction(scores (B,), maps (B, h, w)), one of each per image, maps up to the image size",
    ),
)
_OTHERS = (
    Check(
        "determinism",
        checks_of_predictions.determinism,
        "draw in the constructor, from torch.Generator().manual_seed(seed), and declare stochastic = True",
    ),
    Check(
        "batches",
        checks_of_predictions.batches,
        "score each image by itself: no mean or softmax over the batch, nothing remembered",
    ),
    Check("order", checks_of_predictions.order, "score each image by itself, whatever its place in the batch"),
    Check(
        "class names",
        checks_of_predictions.class_names,
        "class_names[i] is that of image i, and any text: build the prompt of each; if you read its folder, dataset or "
        "domain, keep what you compute by those, too",
    ),
    Check(
        "shared pass",
        checks_of_predictions.shared_pass,
        "predict may depend on nothing but the features that vision() asks for and the class names",
    ),
    Check(
        "inputs",
        checks_of_predictions.inputs,
        "use no in-place operation (add_, *=, normalize with out=) on the arguments",
    ),
    Check("gradients", checks_of_predictions.gradients, "detach the scores and maps; do not return a parameter itself"),
    Check(
        CLASS_SCORES,
        checks_of_predictions.class_scores,
        "class_scores returns a finite score per image (N,) of the scores and of the values of maps, for any N, and "
        "depends on no order; where it divides by a range, the range may be 0",
        lambda tested: tested.method.scores_whole_class(tested.options),
    ),
    Check(
        "GPU",
        run_on_fake_gpu,
        "make new tensors on the device of the features: features.image.new_zeros(…), device=self.backbone.device",
    ),
    Check(
        "losses",
        checks_of_training.losses,
        "learned holds exactly what trains; each parameter enters a loss, each loss is finite; losses read what "
        "training_vision asks for and nothing else, and masks only if needs_masks is True",
        _learns,
    ),
    Check(
        "augmentation",
        checks_of_augmentation.augmentation,
        "augment returns a new Picture, image and mask of one size, and draws only from the generator that it is given",
        checks_of_augmentation.is_augmented,
    ),
    Check(
        "state dict",
        checks_of_training.state_dict,
        "whatever is learned or drawn by seed is a parameter or buffer of self.learned",
        _learns,
    ),
    Check(
        "resuming",
        checks_of_training.resuming,
        "what an earlier stage keeps for a later one is a parameter or buffer of self.learned, which is saved",
        _can_be_resumed,
    ),
    Check(
        "backbone",
        checks_of_predictions.backbone,
        "all methods share the backbone: leave its modules and their requires_grad alone; change tokens by `after` of "
        "backbone.forward_vision",
    ),
)
