"""The page: tabs and their handlers, HTML and words, routes and guards."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
