"""The options of commands that score images of no dataset."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import EncodingOptions, Results
from benchmark.clip import DEFAULT_BACKBONE, MINI_BACKBONE
from benchmark.common import RESULTS

if TYPE_CHECKING:
    from benchmark.api import Scoring


def _checkpoint(text: str) -> Any:
    default = "one in RESULTS/checkpoints that fits, else the package's own for the default backbone"
    return typer.Option(metavar="FILE.json", help=text, show_default=default)


@dataclass(frozen=True, kw_only=True)
class WeightsOptions:
    """With what weights and reference images methods score images."""

    backbone: Annotated[
        str,
        typer.Option(
            help="CLIP and its weights, as of `bench run`: NAME:TAG, NAME=FILE, hf-hub:… The default is part "
            f"of the package and was trained on generated images, for a first try. Real weights: {DEFAULT_BACKBONE}."
        ),
    ] = MINI_BACKBONE
    checkpoint: Annotated[list[Path] | None, _checkpoint("Checkpoint of the method, if it learns.")] = None
    shots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of normal images that k-shot methods (WinCLIP) are shown first: all of them, or as many as "
            "--set winclip.shots=K says.",
        ),
    ] = None
    results: Results = RESULTS

    def scoring(self, *, follow_links: bool) -> "Scoring":
        """Return what methods are to score images with.

        Args:
            follow_links: Whether links that lead out of the folder of reference images are followed.
        """
        from benchmark.api import Scoring

        return Scoring(
            backbone=self.backbone,
            checkpoints=self.checkpoint or (),
            shots=self.shots,
            results=self.results,
            follow_links=follow_links,
        )


@dataclass(frozen=True, kw_only=True)
class ScorerOptions(WeightsOptions, EncodingOptions):
    """With what methods score images, and how this process computes."""

    def scoring(self, *, follow_links: bool) -> "Scoring":
        return replace(super().scoring(follow_links=follow_links), device=self.device, dtype=self.dtype)


@dataclass(frozen=True, kw_only=True)
class ScorersOptions(ScorerOptions):
    """The same of a command that takes several methods."""

    checkpoint: Annotated[
        list[Path] | None, _checkpoint("Checkpoint of a method that learns; may be repeated, one for each method.")
    ] = None
