"""Helpers that know nothing of images, models or databases: processes, memory, files, text, time.

Imports nothing of ours.
"""

from typing import TYPE_CHECKING

from cataloger.utils.lazy import lazy_names

if TYPE_CHECKING:
    from cataloger.utils import failpoints, process_identity
    from cataloger.utils.atomic_files import put_folder, replacing
    from cataloger.utils.child_processes import (
        STOP_REQUEST,
        die_with_parent,
        end_with_parent,
        start_child,
        stop_signals,
    )
    from cataloger.utils.cpu import available_cpus, keep_numpy_to_one_thread, work_in_batch
    from cataloger.utils.malloc import keep_freed_memory, limit_memory, reuse_buffers
    from cataloger.utils.names import (
        clean_department,
        clean_label,
        clean_name,
        clean_setting,
        existing_path,
        find_label,
        part_spellings,
        path_spellings,
        person_key,
        same_person,
        shown_key,
        spelling_of_each,
        spellings,
        strip_invisible,
        sum_by_person,
        visible,
    )
    from cataloger.utils.shares import UNKNOWN, Z95, Share, wilson
    from cataloger.utils.text import counted, listed, nearest_of, one_line, printable
    from cataloger.utils.timing import Stopwatch
    from cataloger.utils.toml_lines import line_of
    from cataloger.utils.traces import note, span, traced
    from cataloger.utils.urls import NOT_A_URL, without_query

__all__ = [
    "NOT_A_URL",
    "STOP_REQUEST",
    "UNKNOWN",
    "Z95",
    "Share",
    "Stopwatch",
    "available_cpus",
    "clean_department",
    "clean_label",
    "clean_name",
    "clean_setting",
    "counted",
    "die_with_parent",
    "end_with_parent",
    "existing_path",
    "failpoints",
    "find_label",
    "keep_freed_memory",
    "keep_numpy_to_one_thread",
    "lazy_names",
    "limit_memory",
    "line_of",
    "listed",
    "nearest_of",
    "note",
    "one_line",
    "part_spellings",
    "path_spellings",
    "person_key",
    "printable",
    "process_identity",
    "put_folder",
    "replacing",
    "reuse_buffers",
    "same_person",
    "shown_key",
    "span",
    "spelling_of_each",
    "spellings",
    "start_child",
    "stop_signals",
    "strip_invisible",
    "sum_by_person",
    "traced",
    "visible",
    "wilson",
    "without_query",
    "work_in_batch",
]

__getattr__ = lazy_names(
    __name__,
    {
        "atomic_files": ("put_folder", "replacing"),
        "child_processes": ("STOP_REQUEST", "die_with_parent", "end_with_parent", "start_child", "stop_signals"),
        "cpu": ("available_cpus", "keep_numpy_to_one_thread", "work_in_batch"),
        "malloc": ("keep_freed_memory", "limit_memory", "reuse_buffers"),
        "names": (
            "clean_department",
            "clean_label",
            "clean_name",
            "clean_setting",
            "existing_path",
            "find_label",
            "part_spellings",
            "path_spellings",
            "person_key",
            "same_person",
            "spelling_of_each",
            "sum_by_person",
            "spellings",
            "shown_key",
            "strip_invisible",
            "visible",
        ),
        "shares": ("UNKNOWN", "Z95", "Share", "wilson"),
        "text": ("counted", "listed", "nearest_of", "one_line", "printable"),
        "timing": ("Stopwatch",),
        "toml_lines": ("line_of",),
        "traces": ("note", "span", "traced"),
        "urls": ("NOT_A_URL", "without_query"),
    },
)
