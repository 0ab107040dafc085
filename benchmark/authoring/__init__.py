"""Tools for authors of methods: the contract checks, and the files that `bench new-method` writes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
