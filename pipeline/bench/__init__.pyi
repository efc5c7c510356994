from .indexes import bench_indexes as bench_indexes
from .scale import bench_growth as bench_growth
from .scale import bench_scale as bench_scale
from .serving import bench_serving as bench_serving
from .speed import bench_speed as bench_speed
