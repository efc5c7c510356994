"""The one way from a photo to a vector: find the face, cut it out, run the network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
