"""What a person must do to have a dataset, in words."""

import shlex
from pathlib import Path

from benchmark.common import size_in_words
from benchmark.data import Archive, Card


def command_that_gets(card: Card, data: Path, *more: str) -> str:
    """Return the command that gets a dataset."""
    return " ".join(["bench data get", card.name, "--data", shlex.quote(str(data)), *more])


def by_hand(card: Card, data: Path) -> str:
    """Return how a person gets a dataset that is not fetched unattended: page, licence, what to do, file, command."""
    download = card.download
    lines = [f"{card.title} has to be fetched by a person:", f"  licence:    {card.licence}"]
    if card.home:
        lines.append(f"  page:       {card.home}")
    if download is None:
        lines.append("  to do:      its card does not say how it is had; look at its page or its paper")
        return "\n".join([*lines, f"  reference:  {card.reference}"])
    if download.steps:
        lines.append(f"  to do:      {_wrapped(download.steps)}")
    lines += [f"  file:       {described(each)}" for each in download.archives]
    lines += [f"              {_wrapped(each.note)}" for each in download.archives if each.note]
    files = [each.file for each in download.archives] or ["FILE"]
    options = [f"--archive {shlex.quote(file)}" for file in files]
    lines.append(f"  then:       {command_that_gets(card, data, *options)}")
    lines.append(f"  or {unpacked_by_hand(card, data)}")
    return "\n".join(lines)


def unpacked_by_hand(card: Card, data: Path) -> str:
    """Return how a person unpacks a dataset and has it checked."""
    holds = (card.download and _wrapped(card.download.expects)) or "the dataset"
    check = f"bench data check {card.name} --data {shlex.quote(str(data))}"
    return f"unpack it yourself, so that {data / card.name} holds {holds}, and see `{check}`"


def after_failure(card: Card, data: Path) -> str:
    """Return what is left to do where a dataset could not be fetched."""
    home = f" (page: {card.home})" if card.home else ""
    command = command_that_gets(card, data, "--archive FILE")
    return f"Run the same command again later, or fetch it with a browser{home} and say `{command}`"


def described(archive: Archive) -> str:
    """Return the name of an archive, its size and its checksum."""
    parts = [archive.file, *([size_in_words(archive.size)] if archive.size else [])]
    parts += [f"{name} {value}" for name, value in (("sha256", archive.sha256), ("md5", archive.md5)) if value]
    return ", ".join(parts)


def _wrapped(text: str) -> str:
    return " ".join(text.split())
