"""What every room uses: whole-file writes, limits on what is read, CSV text, progress, memory, settings, the cache."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
