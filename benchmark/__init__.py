"""Benchmark and reproduction harness for CLIP-based zero-shot anomaly detection: `import benchmark as zb`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
