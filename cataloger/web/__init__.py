"""What all pages share: templates, components and the tokens (colour, spacing, type) that these are drawn with.

Imports `utils`. Nothing here is built, or loaded from the network: `static` holds files as they are served.
"""

from cataloger.web.charts import HEIGHT, WIDTH, Chart, count_ticks, share_ticks
from cataloger.web.environment import Filters, read_asset, template_environment

__all__ = [
    "HEIGHT",
    "WIDTH",
    "Chart",
    "Filters",
    "count_ticks",
    "read_asset",
    "share_ticks",
    "template_environment",
]
