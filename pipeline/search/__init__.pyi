from .calibration import Calibration as Calibration
from .comparison import Comparison as Comparison
from .explain import Explanation as Explanation
from .searcher import Searcher as Searcher
from .searcher import open_searcher as open_searcher
