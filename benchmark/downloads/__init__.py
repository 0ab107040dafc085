"""Getting datasets: archives are fetched, checked and unpacked; for the rest, what a person must do."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
