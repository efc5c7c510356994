from .encoder import Encoder as Encoder
from .encoder import StoredEncoders as StoredEncoders
from .encoder import open_encoder as open_encoder
from .faces import MtcnnDetector as MtcnnDetector
from .weights import WeightStore as WeightStore
