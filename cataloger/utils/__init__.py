"""Helpers that know nothing of images, models or databases: processes, memory, files, text, time.

Imports nothing of ours.
"""

from typing import TYPE_CHECKING

from cataloger.utils.lazy import lazy_names

if TYPE_CHECKING:
    from cataloger.utils import failpoints, process_identity
    from cataloger.utils.atomic_files import put_folder, replacing
    from cataloger.utils.child_processes import die_with_parent, start_child
    from cataloger.utils.cpu import available_cpus, keep_numpy_to_one_thread, work_in_batch
    from cataloger.utils.malloc import keep_freed_memory, limit_memory, reuse_buffers
    from cataloger.utils.templates import Filters, template_environment
    from cataloger.utils.text import printable
    from cataloger.utils.timing import Stopwatch
    from cataloger.utils.urls import without_query

__all__ = [
    "Filters",
    "Stopwatch",
    "available_cpus",
    "die_with_parent",
    "failpoints",
    "keep_freed_memory",
    "keep_numpy_to_one_thread",
    "lazy_names",
    "limit_memory",
    "printable",
    "process_identity",
    "put_folder",
    "replacing",
    "reuse_buffers",
    "start_child",
    "template_environment",
    "without_query",
    "work_in_batch",
]

__getattr__ = lazy_names(
    __name__,
    {
        "atomic_files": ("put_folder", "replacing"),
        "child_processes": ("die_with_parent", "start_child"),
        "cpu": ("available_cpus", "keep_numpy_to_one_thread", "work_in_batch"),
        "malloc": ("keep_freed_memory", "limit_memory", "reuse_buffers"),
        "templates": ("Filters", "template_environment"),
        "text": ("printable",),
        "timing": ("Stopwatch",),
        "urls": ("without_query",),
    },
)
