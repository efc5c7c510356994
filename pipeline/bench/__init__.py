"""How fast it is: benchmarks of indexes, of the pipeline and of the server."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
