"""What a file is that is not what its name says."""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from benchmark.common.first_bytes import what_is_it


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("epoch_15.pth", b"weights")
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("epoch_15.pth"))
    return stream.getvalue()


def _torch() -> bytes:
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(100)}, stream)
    return stream.getvalue()


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind)
    return stream.getvalue()


def _array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9000\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty; download it again"),
        (bytes(10_000), "zero bytes only.*download it again"),
        (POINTER, "Git LFS.*git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head><title>Quota exceeded</title>", "web page.*browser"),
        (b"\xef\xbb\xbf\n  <HTML lang='de'>", "web page"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C"><html xmlns="x">' + b" " * 9000, "web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML.*server.*download it again"),
        (b'{"error": "Repository not found"}', "JSON"),
        (b"Access to this file is denied.\n", 'a text that begins "Access to this file is denied."'),
        ("Zugriff verweigert für …".encode() * 500, "a text that begins"),
        (_zip(), "a zip archive; unpack it"),
        (_torch()[:-100], "zip archive.*end is missing.*download it again"),
        (gzip.compress(b"x", mtime=0), "gzip.*unpack"),
        (bz2.compress(b"x"), "bzip2.*unpack"),
        (lzma.compress(b"x"), "xz.*unpack"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7z.*unpack"),
        (b"Rar!\x1a\x07\x01\0", "rar.*unpack"),
        (_tar(), "tar archive.*unpack"),
        (b"%PDF-1.7\n", "PDF"),
        (_array(), "NumPy"),
        (save({"a": torch.zeros(2)}), "a safetensors file$"),
        (save({"a": torch.zeros(200)})[:-100], "safetensors file of which the end is missing.*download it again"),
        (b"\x02" + bytes(7) + b"{]   ", "safetensors file of which the end is missing or broken"),
        (_picture("PNG"), "PNG image"),
        (_picture("JPEG"), "JPEG image"),
    ],
)
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "epoch_15.pth"
    path.write_bytes(content)
    what = what_is_it(path)
    assert what is not None
    assert re.search(said, what)


@pytest.mark.parametrize("content", [_torch(), b"\x80\x02}q\0.", bytes(range(255, 190, -1))])
def test_what_is_unknown_is_not_guessed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    assert what_is_it(path) is None


def test_a_text_where_one_is_expected_is_no_surprise(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("object,split\n")
    assert what_is_it(path, text=True) is None
    path.write_bytes(POINTER)
    assert "git lfs pull" in (what_is_it(path, text=True) or "")


def test_nothing_but_a_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [what_is_it(tmp_path / name) for name in ("pipe", ".", "missing")] == [None] * 3


def test_a_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x1b[2Jgone")
    assert what_is_it(tmp_path / "a") is None
