from .build import build_embeddings as build_embeddings
from .build import open_embeddings as open_embeddings
from .fetch import PublishedIndex as PublishedIndex
from .map import GalleryMap as GalleryMap
from .map import open_map as open_map
from .store import Embeddings as Embeddings
from .store import load_embeddings as load_embeddings
