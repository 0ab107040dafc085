"""A miniature of all 17 datasets, drawn by programs: for trying things out, never for comparing methods in earnest."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
