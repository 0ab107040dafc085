from .check_images import dataset_images as dataset_images
from .check_images import random_images as random_images
from .conformance import check_declaration as check_declaration
from .conformance import check_method as check_method
from .findings import render as render
from .scaffold import next_steps as next_steps
from .scaffold import write_method as write_method
from .stability import check_stability as check_stability
