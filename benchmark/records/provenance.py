"""Where and by what code a number was made or a training was done."""

import functools
import hashlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark.common import Model, float32_precision, processor, unix_content

PACKAGES = ("zsad-bench", "torch", "torchvision", "open_clip_torch", "numpy", "scipy", "pillow")
_CODE = ("benchmark", "methods", "datasets")
"""Folders of the checkout that can change a number."""
_FEATURES = ("clip", "data", "training/features.py")
_NUMBERS = ("clip", "common", "contract.py", "data", "metrics", "protocol.py", "registry", "running", "training")
"""Parts of the package `benchmark` that can change a feature, and a number."""


class Provenance(Model):
    """The machine and the code of a piece of work."""

    created: str
    device: str
    machine: str
    python: str
    packages: dict[str, str]
    git_commit: str | None
    """Of the checkout, with `+changes` where the code differs from it."""
    code_sha256: str | None = None
    """Of the Python files of the package `benchmark` that can change a number."""
    processor: str | None = None
    """Model of the processor, instructions that torch uses of it, and number of threads."""
    float32_precision: str | None = None
    """Precision of float32 that was in force."""
    source_sha256: str | None = None
    """Of the files that define the method: its module and those of its package that it imports."""


def environment() -> dict[str, Any]:
    """Return what `Provenance` says of the machine and the code; packages and code as they were when first asked."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "float32_precision": float32_precision(),
        **_machine_and_code(),
    }


def code_key(source_sha256: str | None, learned_sha256: str | None = None) -> str:
    """Return a short name for all that can change a number of a method, besides what its cell says.

    What was begun by other code, with other packages or with another checkpoint, is not gone on with.

    Args:
        source_sha256: Of the files of the method.
        learned_sha256: Of the checkpoint that the method runs with.
    """
    here = _machine_and_code()
    return _short(source_sha256, learned_sha256, here["code_sha256"], sorted(here["packages"].items()))


def features_key(device: str) -> str:
    """Return a short name for the code, the packages and the kind of device that can change a feature of an image.

    Args:
        device: Name of the device, as `benchmark.common.device_name` gives it.
    """
    packages = sorted(_machine_and_code()["packages"].items())
    return _short(_code_sha256(*_FEATURES), packages, device, float32_precision())


def _short(*known: object) -> str:
    return hashlib.sha256(repr(known).encode()).hexdigest()[:12]


@functools.cache  # asked for each record, and git takes milliseconds, in a large checkout seconds
def _machine_and_code() -> dict[str, Any]:
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "git_commit": git_commit(Path(__file__).parents[2]),
        "code_sha256": _code_sha256(*_NUMBERS),
    }


def package_version(package: str) -> str:
    """Return the version of an installed package, `unknown` where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@functools.cache
def _code_sha256(*parts: str) -> str:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    roots = [package / part for part in parts]
    for path in sorted(path for root in roots for path in ([root] if root.suffix else root.rglob("*.py"))):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + unix_content(path))
    return digest.hexdigest()


def git_commit(root: Path) -> str | None:
    """Return the commit of a checkout, with `+changes` where its code is not clean; None where there is no commit."""
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *_CODE)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
