from .site import ReportError as ReportError
from .site import Site as Site
from .site import write_site as write_site
