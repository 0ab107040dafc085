"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("zsad-bench")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "unknown"
