from .images import open_image as open_image
from .photos import Photos as Photos
from .pictures import Pictures as Pictures
from .sources import open_photos as open_photos
