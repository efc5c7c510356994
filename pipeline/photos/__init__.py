"""Where photos come from, how they are read, and the pictures of them that a browser shows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
