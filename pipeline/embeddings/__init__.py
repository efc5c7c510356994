"""One recipe's vectors of a gallery on disk: building, opening, fetching and publishing them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
