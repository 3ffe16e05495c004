"""What all pages share: templates, components and the tokens (colour, spacing, type) that these are drawn with.

Imports `utils`. Nothing here is built, or loaded from the network: `static` holds files as they are served.
"""

from cataloger.web.environment import Filters, read_asset, template_environment

__all__ = ["Filters", "read_asset", "template_environment"]
