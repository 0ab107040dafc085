from .jobs import Training as Training
from .jobs import build_method as build_method
from .jobs import encode_auxiliary as encode_auxiliary
from .jobs import train_method as train_method
from .jobs import untrained as untrained
from .published import import_checkpoint as import_checkpoint
