"""What a file is by its name: an image that is read, one that is not, a table, or the leavings of a system.

One table holds the formats that are decoded with the extensions of their files; whatever else could be an image is
named to the user with what to do about it.
"""

import posixpath
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from PIL import features


def _split(text: str) -> tuple[str, ...]:
    return tuple(f".{each}" for each in text.split())


def _avif() -> dict[str, tuple[str, ...]]:
    """Return the format AVIF where Pillow is built with it; Pillow before 11.3 does not know it."""
    known = "avif" in features.modules and features.check_module("avif")
    return {"AVIF": _split("avif avifs")} if known else {}


DECODED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "PNG": _split("png apng"),
        "JPEG": _split("jpg jpeg jpe jif jfif jfi mpo"),
        "BMP": _split("bmp"),
        "GIF": _split("gif"),
        "PPM": _split("ppm pgm pbm pnm pfm"),
        "TIFF": _split("tif tiff"),
        "WEBP": _split("webp"),
        "JPEG2000": _split("jp2 j2k jpc jpf jpx j2c"),
        "TGA": _split("tga icb vda vst"),
        "PCX": _split("pcx"),
        "DIB": _split("dib"),
        **_avif(),
    }
)
"""The formats that are decoded, by Pillow's names, and their extensions in lower case.

Pillow knows more, but starts other programs for some (Ghostscript for EPS).
"""
IMAGE_EXTENSIONS: Final = frozenset(extension for each in DECODED.values() for extension in each)
"""In lower case; the case of a file's extension does not matter."""

Kind = Literal["image", "undecoded", "packed", "video", "archive", "table", "other"]
"""What a file is by its name."""
_OTHERS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "undecoded": _split(
        "heic heif hif avif avifs raw cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 pef dng srw x3f 3fr iiq dcm dicom "
        "nii nii.gz mha mhd nrrd mgz psd psb svg eps ps ai pdf xcf kra wmf emf npy npz mat exr hdr dds ktx fits fit "
        "fts ico icns jxl jxr hdp wdp qoi sgi rgb rgba bw ras xbm xpm fli flc mng bpg flif pcd cur vtf djvu czi svs "
        "ndpi vsi lif"
    ),
    "packed": _split("parquet arrow feather h5 hdf5 tfrecord tfrecords lmdb mdb pkl pickle"),
    "video": _split("mp4 avi mov mkv wmv webm m4v mpg mpeg 3gp flv ogv mts m2ts vob"),
    "archive": _split("zip tar gz tgz bz2 tbz2 xz txz zst lz4 lzma 7z rar 001 z01 r00"),
    "table": _split("csv tsv xls xlsx ods json jsonl ndjson xml txt yaml yml"),
}
_KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {extension: kind for kind, extensions in _OTHERS.items() for extension in extensions}
    | dict.fromkeys(IMAGE_EXTENSIONS, "image")
)
WAYS_OUT: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "undecoded": "this format is not read; convert to PNG",
        "packed": "images inside such files are not read; save them as PNG",
        "video": "videos are not read; save their frames as PNG",
        "archive": "archives are not read; unpack them",
        "table": "labels and other texts are not used",
    }
)
"""What is said of files of a kind that is not read."""

_LITTER = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"),
        *("__macosx", "lost+found", "@eadir", "@recycle", "#recycle", "#snapshot", "@snapshot", "@tmp", "icon\r"),
        *("__pycache__",),
    }
)
"""Files and folders that operating systems and storage devices leave behind, in lower case."""

_MAGIC = (
    *(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"BM", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"),
    *(b"8BPS", b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n", b"\x93NUMPY"),
)
"""Beginnings of image files."""


def extension(path: str) -> str:
    """Return the extension of a path in lower case, with the dot; of `a.nii.gz` it is `.nii.gz`."""
    name = posixpath.basename(path).lower()
    return ".nii.gz" if name.endswith(".nii.gz") else posixpath.splitext(name)[1]


def kind_of(path: str) -> Kind:
    """Return what a file is by its name."""
    return _KINDS.get(extension(path), "other")


def is_image(path: str) -> bool:
    """Return whether a file has the extension of an image that is read."""
    return posixpath.splitext(path)[1].lower() in IMAGE_EXTENSIONS


def is_litter(name: str) -> bool:
    """Return whether a file or folder is one that systems leave behind, or hidden (.DS_Store, ._x, .thumbnails)."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return name.startswith(".") or folded in _LITTER or folded.endswith(":zone.identifier")


def begins_like_an_image(path: Path) -> bool:
    """Return whether the first bytes of a file are those of an image."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    brands = (b"heic", b"heix", b"mif1", b"avif", b"avis")
    return (
        head.startswith(_MAGIC)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in brands)
        or head[128:] == b"DICM"
    )
