from .facts import MethodFacts as MethodFacts
from .facts import OptionFacts as OptionFacts
from .facts import option_text as option_text
from .site import ReportError as ReportError
from .site import write_site as write_site
from .sources import has_per_image as has_per_image
from .sources import no_per_image as no_per_image
from .sources import per_image_reader as per_image_reader
