from .heads import train_head as train_head
from .sample import compose_sample as compose_sample
