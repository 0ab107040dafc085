from .advice import command_that_gets as command_that_gets
from .getting import Getting as Getting
from .getting import Got as Got
from .given_files import match_files as match_files
from .licences import accept as accept
