"""Predictions for a user's own images: finding and scoring them, choosing thresholds, drawing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
