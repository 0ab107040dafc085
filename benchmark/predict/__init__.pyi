from .heatmaps import colours as colours
from .heatmaps import overlay as overlay
from .own_images import find_images as find_images
from .own_images import prepare_output as prepare_output
