"""Nearest neighbours among unit vectors: one module for each index."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
