"""The commands about methods: `bench methods`, `bench new-method`, `bench check-method`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import MethodOptions, PluginOptions, with_options
from benchmark.cli.settings import parse_settings
from benchmark.common import tell

STABILITY_IMAGES = 8  # of a class, normal and anomalous each; fewer are soon learned by heart, and that is unstable


@with_options
def methods_command(*, plugins: PluginOptions) -> None:
    """List the methods with their options, what they train on, and their papers."""
    from benchmark.contract import Learner
    from benchmark.protocol import Protocol
    from benchmark.registry import all_methods, option_fields

    for method in all_methods().values():
        print(f"{method.name}  ({method.title}, version {method.version})")
        print(f"  paper:  {method.paper}")
        print(f"  trains: {'on the auxiliary dataset' if issubclass(method, Learner) else 'on nothing'}")
        if method.ablations:
            print(f"  ablate: {', '.join(ablation.name for ablation in method.ablations)}")
        for field in option_fields(method):
            print(f"  option: {method.name}.{field.name} = {field.default}")
    print("protocol  (holds for every method of a run)")
    for name, info in Protocol.model_fields.items():
        print(f"  option: protocol.{name} = {info.default}")


def new_method_command(
    name: Annotated[str, typer.Argument(help="Lower case, digits and underscores, as in patch_max.")],
    *,
    learns: Annotated[bool, typer.Option("--learns", help="The method trains on an auxiliary dataset.")] = False,
) -> None:
    """Write a method that works, in one file, and a test of it, for you to change.

    In a checkout of the benchmark the files go into methods and tests/methods, where commands find the method.
    Elsewhere they go into the current folder, and commands find the method by --plugin NAME.py. No file is overwritten.

    Examples:

    bench new-method patch_max

    bench new-method my_prompts --learns
    """
    from benchmark.authoring import next_steps, write_method

    folder = Path.cwd()
    for path in write_method(name, folder, learns=learns):
        tell(f"written: {path.relative_to(folder)}")
    tell("it works as it is; change it, and then:")
    print(next_steps(name, folder))


@with_options
def check_method_command(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="A name that `bench methods` shows.")],
    *,
    method: MethodOptions,
) -> None:
    """Check that a method works with the benchmark, on eight images of the mini suite and a small CLIP.

    Prints a line for each check: metadata, requested features, shapes, determinism, scores that depend on their own
    image only, class names, gradients, tensors left on the CPU, stages, losses, augmentations, and what is saved. Of a
    method that learns it also says how much its training magnifies tiny differences; that never fails. Exit code 0: all
    checks passed; 1: a check failed, and a hint says where to look; 2: the check could not start.

    Examples:

    bench check-method patch_max --plugin patch_max.py

    bench check-method winclip --set winclip.shots=2
    """
    from benchmark.authoring import check_declaration, check_method, check_stability, render
    from benchmark.contract import Learner
    from benchmark.registry import all_methods, choose

    known = all_methods()
    findings = [check_declaration(known[choose("method", [name], known)[0]])]
    if findings[0].passed:  # else its options cannot be read either
        from functools import partial

        from benchmark.api import mini_suite, select_datasets, select_methods
        from benchmark.authoring import dataset_images
        from benchmark.clip import MINI_BACKBONE, load_backbone, parse_backbone

        [(chosen, options)], _ = select_methods([name], parse_settings(method.settings))
        [data], _ = select_datasets(["mvtec"], data=mini_suite())
        backbone = load_backbone(parse_backbone(MINI_BACKBONE))
        findings = check_method(chosen, options, backbone, partial(dataset_images, data))
        if issubclass(chosen, Learner) and all(finding.passed for finding in findings):
            more = partial(dataset_images, data, each=STABILITY_IMAGES)
            findings.append(check_stability(chosen, options, backbone, more))
    print(render(findings))
    sys.exit(0 if all(finding.passed for finding in findings) else 1)
