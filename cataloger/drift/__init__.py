"""Whether the answers of a run differ from those before. Imports `ledger`, `schema`, `model`, `db`."""

from cataloger.drift.check import CheckOptions, CheckReport, check_run
from cataloger.drift.statistics import ANSWERS, CategoryShift, Measure, Profile

__all__ = ["ANSWERS", "CategoryShift", "CheckOptions", "CheckReport", "Measure", "Profile", "check_run"]
