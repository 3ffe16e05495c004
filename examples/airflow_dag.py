"""A nightly sync and its gate as Airflow tasks; without Airflow the tasks are plain functions.

CATALOG_PHOTOS=photos CATALOG_DB=sqlite:///catalog.db python examples/airflow_dag.py
"""

import os

import cataloger


def tag_photos(photos: str, db: str) -> int | None:
    """Tag what is new; return the number of the run. Fails the task if too many images failed."""
    report = cataloger.tag(photos, db=db)
    if report.exit_status:
        raise RuntimeError("; ".join(report.shortfalls()) or "the run was interrupted")
    return report.run_id


def check_drift(db: str) -> str:
    """Compare the newest run with the one before; fails the task if the answers have drifted."""
    with cataloger.open_catalog(db) as catalog:
        found = catalog.check()
    if found.drifted:
        raise RuntimeError(found.verdict)
    return found.verdict


def main() -> str:
    """Run the tasks one after the other."""
    photos, db = os.environ["CATALOG_PHOTOS"], os.environ["CATALOG_DB"]
    tag_photos(photos, db)
    return check_drift(db)


try:
    from airflow.decorators import dag, task
except ImportError:
    dag = None

if dag is not None:

    @dag(schedule="0 2 * * *", catchup=False)
    def nightly() -> None:
        """Tag at two in the morning, then check."""
        photos, db = os.environ["CATALOG_PHOTOS"], os.environ["CATALOG_DB"]
        task(tag_photos)(photos, db) >> task(check_drift)(db)

    nightly()
elif __name__ == "__main__":
    print(main())
