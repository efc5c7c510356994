from .parts import Parts as Parts
