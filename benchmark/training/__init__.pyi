from .features import AuxiliaryFeatures as AuxiliaryFeatures
from .jobs import Training as Training
from .jobs import untrained as untrained
from .published import import_checkpoint as import_checkpoint
from .runner import Watch as Watch
from .runner import build_method as build_method
from .runner import encode_auxiliary as encode_auxiliary
from .runner import train_method as train_method
