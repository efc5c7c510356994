"""What one process has open: galleries, their preparation, and the photos of visitors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
