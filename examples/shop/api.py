"""The shop of run.py from Python: sync, look at the answers, correct one. Run run.py first, which makes shop.db.

python examples/shop/api.py
"""

import sys
from pathlib import Path

import cataloger

HERE = Path(__file__).parent


def main(url: str) -> cataloger.SyncReport:
    """Sync the shop and print what holds for each image."""
    table = cataloger.ProductTable(
        "products",
        id="sku",
        image="file",
        image_root=HERE.parent / "images",
        image_table="product_images",
        image_fk="sku",
    )
    report = cataloger.sync(db=url, table=table, label_map=HERE / "codes.csv")
    with cataloger.open_catalog(url) as catalog:
        for result in catalog.results():
            print(result.product_key, result.labels[:1], result.decision)
    return report


if __name__ == "__main__":
    print(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///shop.db"))
