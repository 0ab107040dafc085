"""Datasets: cards, the layouts of their files, samples, reading of images, and checks of what is on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
