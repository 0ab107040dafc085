"""Metrics: curves, image and pixel metrics, results per image, bootstrap draws."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
