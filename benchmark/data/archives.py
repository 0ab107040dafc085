"""How a dataset is had: the published archives with their checksums, and what a person must do."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from benchmark.common import Model
from benchmark.data.relative_paths import RelativePath


def _web_address(url: str) -> str:
    if not re.fullmatch(r"https://[^\s/]+/\S*", url):
        raise ValueError(f"{url!r} must be a web address that starts with https://")
    return url


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]*", name):
        raise ValueError(f"{name!r} must be the name of a file, without folders")
    return name


WebAddress = Annotated[str, AfterValidator(_web_address)]
FileName = Annotated[str, AfterValidator(_file_name)]


class Archive(Model):
    """One published archive. Its checksum says what it is; its addresses say where it was to be had."""

    file: FileName
    urls: tuple[WebAddress, ...] = ()
    """Tried in this order. None where a person must fetch it."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """Where no sha256 is published."""
    record: WebAddress | None = None
    """A record of Zenodo that lists the md5 of the file, where no checksum is pinned here."""
    size: int | None = Field(default=None, gt=0)
    """Bytes of the archive."""
    into: RelativePath = ""
    """The folder, below that of the dataset, into which it is unpacked."""
    note: str = ""
    """What is odd about the address or the file, in a sentence."""

    @model_validator(mode="after")
    def _at_most_one_checksum(self) -> Self:
        if sum(each is not None for each in (self.sha256, self.md5, self.record)) > 1:
            raise ValueError(f"{self.file}: say one of sha256, md5 and record")
        return self


class Download(Model):
    """How a dataset is had: by its archives alone, or with a person's help."""

    unattended: bool = False
    """Whether the archives may be fetched without a form, an account or a question to a person but for the licence."""
    archives: tuple[Archive, ...] = ()
    steps: str = ""
    """What a person must do to get it by hand: page, form, account, command."""
    expects: str = ""
    """What the dataset's folder holds afterwards, in words."""

    @model_validator(mode="after")
    def _unattended_archives_can_be_fetched_and_checked(self) -> Self:
        if self.unattended and not self.archives:
            raise ValueError("unattended = true needs archives")
        for each in self.archives:
            if self.unattended and not (each.urls and (each.sha256 or each.md5 or each.record)):
                raise ValueError(f"{each.file}: what is fetched unattended needs an address and a checksum")
        if not self.unattended and not self.steps:
            raise ValueError("what cannot be fetched unattended needs steps for a person")
        return self
