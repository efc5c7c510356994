from .images import open_image as open_image
from .pictures import Pictures as Pictures
from .sources import Photos as Photos
from .sources import open_photos as open_photos
