from .registry import INDEXES as INDEXES
from .registry import available as available
from .registry import build_index as build_index
from .registry import open_index as open_index
