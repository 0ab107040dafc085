"""Reproduction of papers' tables: named recipes, what they need and cost, and the table beside the published one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
