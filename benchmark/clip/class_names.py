"""Class names that the text tower can take."""

import functools
from typing import TYPE_CHECKING, Self

from benchmark.common import is_blank
from benchmark.errors import BenchError

if TYPE_CHECKING:
    import open_clip

NAME_TOKENS = 55
"""Most tokens of a class name: of the 77 that the text tower takes, the prompts of the methods need up to 22 besides
(CoOp's, of 16 learned tokens). With other options they can need more; then a prompt that is too long is an error."""


class ClassNameError(BenchError):
    """A class name cannot be used in prompts. The message says why, and what to do."""


class ClassName(str):
    """The class name of an image as it stands in prompts, with what else is known of the class.

    Two names are equal if their texts are; a method that reads the attributes keeps what it computes by them, too.
    """

    __slots__ = ("dataset", "domain", "folder")
    folder: str
    """The name as the dataset's folder has it, as in `metal_nut`."""
    dataset: str
    """Name of the dataset's card, as in `mvtec`; empty for images of no dataset."""
    domain: str
    """`industrial`, `medical`, or `custom` for images of no dataset."""

    def __new__(cls, text: str, *, folder: str = "", dataset: str = "", domain: str = "custom") -> Self:
        """Return the name. Without a folder's name it is that of the folder, too."""
        name = super().__new__(cls, text)
        name.folder, name.dataset, name.domain = folder or text, dataset, domain
        return name

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, str]]:
        return (str(self),), {"folder": self.folder, "dataset": self.dataset, "domain": self.domain}


def check_class_name(name: str, *, where: str) -> None:
    """Check that a class name is a word, and that prompts with it are not too long for CLIP's text tower.

    Args:
        name: The name as it stands in prompts.
        where: Where it was given, which begins the message.

    Raises:
        ClassNameError: It has no letter and no digit, has control characters, or is too long.
    """
    if is_blank(name):
        raise ClassNameError(f'{where}: {name!r} is no name; say what the images show, as in "metal nut"')
    if len(name.encode(errors="replace")) <= NAME_TOKENS:  # a token is at least a byte; this needs no tokenizer
        return
    if (tokens := len(_tokenizer().encode(name))) > NAME_TOKENS:
        raise ClassNameError(
            f'{where}: the class name "{name[:40]}…" has {tokens} tokens; a prompt of 77 tokens takes names of at most '
            f"{NAME_TOKENS}, about as many words; say it shorter"
        )


@functools.cache
def _tokenizer() -> "open_clip.SimpleTokenizer":
    import open_clip

    return open_clip.SimpleTokenizer()
