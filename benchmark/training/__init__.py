"""Training: the auxiliary images and their cached features, the training loop, the jobs, published checkpoints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
