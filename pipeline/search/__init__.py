"""A photo goes in, an answer comes out, with what its distances mean."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
