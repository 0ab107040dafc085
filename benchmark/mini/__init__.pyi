from .suite import SUITE_VERSION as SUITE_VERSION
from .suite import image_count as image_count
from .suite import is_suite as is_suite
from .suite import make_suite as make_suite
