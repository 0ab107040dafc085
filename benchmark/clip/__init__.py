"""The frozen CLIP: weights, vision tower, windows and text tower behind one class, `Backbone`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
