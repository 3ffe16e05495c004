"""The codes of products; and text of the views of codes that joins a shop's columns of any collation."""

from importlib import import_module
from typing import Any

from alembic import op

from cataloger.migrations.statements import create_view, drop_views, is_mysql

revision = "0015"
down_revision = "0014"

IMAGE_CODES = "cataloger_image_codes"
PRODUCT_CODES = "cataloger_product_codes"
RANKS = range(1, 6)


def upgrade() -> None:
    """Apply: the columns of the view that was there keep their names, types and grants."""
    create_view(IMAGE_CODES, _image_codes())
    create_view(PRODUCT_CODES, _product_codes())


def downgrade() -> None:
    """Undo: the view of products goes, that of images gets back what its columns were compared by."""
    drop_views([PRODUCT_CODES])
    create_view(IMAGE_CODES, _answers().VIEWS[IMAGE_CODES])


def _product_codes() -> str:
    """One row for each product and rank that the label map has a code for."""
    a = _answers()
    keys = f"{_of_any('s.name')} AS source, {_of_any('p.product_key')} AS product_key"
    decision = _exact(a._decision("p", "w").removesuffix(" AS decision"))
    return " UNION ALL ".join(
        f"SELECT {keys}, {rank} AS {{rank}}, "
        f"{_codes(a._confidence('p', 'w', rank))}, {decision} AS decision "
        "FROM cataloger_source s "
        "JOIN cataloger_product_current c ON c.source_id = s.id AND c.weights_id = s.weights_id "
        f"JOIN cataloger_product_result p ON p.id = c.result_id {a.PRODUCT_WORD.format(hash='c.product_hash')}"
        f"JOIN cataloger_label_map l ON l.source_id = s.id AND l.label = {a._label('p', 'w', rank)}"
        for rank in RANKS
    )


def _image_codes() -> str:
    a = _answers()
    return " UNION ALL ".join(
        f"SELECT s.name AS source, i.{{key}}, i.uri, i.product_key, {rank} AS {{rank}}, "
        f"{_codes(a._confidence('r', 'k', rank))} "
        f"FROM cataloger_source s {a.RESULT_FROM} "
        f"JOIN cataloger_label_map l ON l.source_id = s.id AND l.label = {a._label('r', 'k', rank)} "
        "WHERE i.gone_run_id IS NULL"
        for rank in RANKS
    )


def _codes(confidence: str) -> str:
    mapped = ", ".join(f"{_exact(f'l.{name}')} AS {name}" for name in ("code", "name", "parent"))
    return f"l.label, {mapped}, {confidence} AS confidence"


def _exact(text: str) -> str:
    """Return text that is compared byte by byte on MySQL and MariaDB, as l.label is, which is never null.

    What has the default collation of the server cannot be compared with a shop's column of another one; `utf8mb4_bin`
    wins over each of them. COLLATE would do that, too, but not where a query names a collation for its other side.
    """
    return f"CASE WHEN l.label IS NULL THEN l.label ELSE {text} END" if is_mysql() else text


def _of_any(text: str) -> str:
    """Return text of ours that is exact already so that PostgreSQL compares it by the other side's collation."""
    return f'{text} COLLATE "default"' if op.get_context().dialect.name == "postgresql" else text


def _answers() -> Any:
    """Return the migration whose functions put the answer of a view together."""
    return import_module("cataloger.migrations.versions.0006_corrections")
