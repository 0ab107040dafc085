"""The mini suite: generated miniatures of the datasets, to try out the benchmark but not to compare methods."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
