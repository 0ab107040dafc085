"""The place of `MINI_FILE` before the modules were moved into rooms; scripts that were written for it go on working."""

from benchmark.clip import MINI_FILE

__all__ = ["MINI_FILE"]
