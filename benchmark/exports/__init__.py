"""What leaves the benchmark: results as tidy tables and for boards, methods as ONNX models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
