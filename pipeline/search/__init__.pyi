from .calibration import Calibration as Calibration
from .comparison import Comparison as Comparison
from .comparison import compare as compare
from .explain import Explanation as Explanation
from .searcher import Searcher as Searcher
from .searcher import open_searcher as open_searcher
