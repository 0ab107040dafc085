"""What every room uses: files, limits on what is read, validated data, names, CSV, progress, settings, cache."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
