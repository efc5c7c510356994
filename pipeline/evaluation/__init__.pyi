from .evaluate import Task as Task
from .pairs import Pairs as Pairs
from .pairs import open_pairs as open_pairs
