from .galleries import Galleries as Galleries
from .galleries import open_galleries as open_galleries
from .gallery import Gallery as Gallery
from .gallery import open_gallery as open_gallery
from .own_galleries import OwnGalleries as OwnGalleries
from .preparation import Preparation as Preparation
