"""Shop systems as a preset meets them: the tables that matter, products in the system's own form, what people do.

The tables are described anew from what the systems publish of their schemas: names of tables and columns, keys,
columns that must have a value. `{p}` is the prefix of the tables.
"""

import re
from dataclasses import dataclass, field

CLOTHES, HEADWEAR, FOOTWEAR = 20, 21, 22
CODES = {
    **{"T-shirt": 31, "Shirt": 32, "Shorts": 33, "Hat": 34, "Sunglasses": 35, "Jewellery": 36, "Handbag": 37},
    **{"Flip flops": 38, "Sandals": 39, "Sports shoes": 40, "Casual shoes": 41, "Tie": 42, "Scarf": 43, "Socks": 44},
}
"""What these shops sell: label of the model -> id of their category."""
TREE = [(CLOTHES, "Clothing", None), (HEADWEAR, "Headwear", CLOTHES), (FOOTWEAR, "Footwear", CLOTHES)]
TREE += [
    (code, label, {34: HEADWEAR}.get(code, FOOTWEAR if 38 <= code <= 41 else CLOTHES))
    for label, code in CODES.items()
]
LANGUAGES = {1: "{}", 2: "{} (fr)"}
"""Ids of languages, and how a category is called there."""


@dataclass
class System:
    """A shop system. A product is a number; a picture is known by the number of its row.

    tables: with what of them an undo must restore: name -> columns; what a server counts itself is left out.
    where: SELECT of product and category as the shop reads it. own: what is there before any product.
    """

    preset: str
    engine: str
    prefix: str
    make: tuple[str, ...]
    own: tuple[str, ...]
    tables: dict[str, str]
    where: str
    settings: dict[str, str] = field(default_factory=dict)
    folder: str = ""

    def product(self, number, pictures):
        """Return the statements of a new product, and file of each picture below the folder -> the picture.

        pictures: pairs of a number and a picture, the first one the main one.
        """
        raise NotImplementedError

    def remove(self, number):
        """Return the statements that delete a product, as the system does."""
        raise NotImplementedError

    def link(self, number, code, place):
        """Return what a person does who puts a product into a category, with a value in another column."""
        raise NotImplementedError

    def unlink(self, number, code):
        """Return what a person does who takes a product out of a category."""
        raise NotImplementedError

    def choose(self, number, code):
        """Return what a person does who gives a product another main category, where there is one."""
        return self.link(number, code, 8)

    def repaint(self, picture):
        """Return what the system does when the file of a picture is replaced."""
        return []

    has_places = True
    """False where a link has no other column that a person could change."""


def values(*each):
    """Return a row of values in SQL."""
    return "(" + ", ".join("NULL" if v is None else str(v) if isinstance(v, int) else f"'{v}'" for v in each) + ")"


def rows(table, each):
    return f"INSERT INTO {table} VALUES " + ", ".join(values(*row) for row in each)


class WooCommerce(System):
    def __init__(self):
        super().__init__(
            preset="woocommerce",
            engine="mariadb",
            prefix="shop7_",
            folder="wp-content/uploads",
            make=(
                "CREATE TABLE {p}posts (ID BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, post_date DATETIME NOT NULL "
                "DEFAULT '2024-01-01', post_title TEXT NOT NULL, post_status VARCHAR(20) NOT NULL DEFAULT 'publish', "
                "post_parent BIGINT UNSIGNED NOT NULL DEFAULT 0, post_type VARCHAR(20) NOT NULL DEFAULT 'post')",
                "CREATE TABLE {p}postmeta (meta_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, post_id "
                "BIGINT UNSIGNED "
                "NOT NULL DEFAULT 0, meta_key VARCHAR(255), meta_value LONGTEXT, KEY (post_id), KEY (meta_key(191)))",
                "CREATE TABLE {p}terms (term_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name "
                "VARCHAR(200) NOT NULL "
                "DEFAULT '', slug VARCHAR(200) NOT NULL DEFAULT '', term_group BIGINT NOT NULL DEFAULT 0)",
                "CREATE TABLE {p}term_taxonomy (term_taxonomy_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, term_id "
                "BIGINT UNSIGNED NOT NULL DEFAULT 0, taxonomy VARCHAR(32) NOT NULL DEFAULT '', description LONGTEXT "
                "NOT NULL, parent BIGINT UNSIGNED NOT NULL DEFAULT 0, count BIGINT NOT NULL DEFAULT 0, "
                "UNIQUE (term_id, taxonomy))",
                "CREATE TABLE {p}term_relationships (object_id BIGINT UNSIGNED NOT NULL DEFAULT 0, term_taxonomy_id "
                "BIGINT UNSIGNED NOT NULL DEFAULT 0, term_order INT NOT NULL DEFAULT 0, "
                "PRIMARY KEY (object_id, term_taxonomy_id), KEY (term_taxonomy_id))",
                # With HPOS the orders have tables of their own, whose ids are in one sequence with those of posts.
                "CREATE TABLE {p}wc_orders (id BIGINT UNSIGNED PRIMARY KEY, status VARCHAR(20), total_amount "
                "DECIMAL(26, 8), customer_id BIGINT UNSIGNED)",
                "CREATE TABLE {p}wc_orders_meta (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, order_id BIGINT "
                "UNSIGNED, meta_key VARCHAR(255), meta_value TEXT)",
            ),
            own=(
                # A term has another id than what links it; the same name as a tag of the blog is no category.
                rows(
                    "{p}terms", [(1000 + code, name, name.lower(), 0) for code, name, _ in [*TREE, (99, "Hat", None)]]
                ),
                rows(
                    "{p}term_taxonomy",
                    [(code, 1000 + code, "product_cat", "", 1000 + (above or -1000), 0) for code, _, above in TREE]
                    + [(99, 1099, "post_tag", "", 0, 0)],
                ),
                rows("{p}wc_orders", [(900001, "wc-completed", 10, 1)]),
                "INSERT INTO {p}posts (ID, post_title, post_type) VALUES (800000, 'About us', 'page')",
                "INSERT INTO {p}postmeta (post_id, meta_key, meta_value) VALUES (800000, '_thumbnail_id', '100011')",
            ),
            tables={
                "{p}posts": "*",
                "{p}term_relationships": "*",
                "{p}term_taxonomy": "*",
                "{p}postmeta": "post_id, meta_key, meta_value",
            },
            where="SELECT object_id, term_taxonomy_id FROM {p}term_relationships",
        )

    def product(self, number, pictures):
        made = [f"INSERT INTO {{p}}posts (ID, post_title, post_type) VALUES ({number}, 'Product', 'product')"]
        made.append(f"INSERT INTO {{p}}term_relationships VALUES ({number}, {CLOTHES}, 0)")
        ids = [100000 + picture for picture, _ in pictures]
        for each in ids:
            made.append(
                f"INSERT INTO {{p}}posts (ID, post_title, post_type) VALUES ({each}, 'Picture', 'attachment')"
            )
            made.append(self._meta(each, "_wp_attached_file", f"2024/05/{each}.jpg"))
        main, *others = ids
        variants, gallery = others[1:], [str(main), *map(str, others[:1])]  # the main one is named there again
        made.append(self._meta(number, "_thumbnail_id", main))
        made.append(self._meta(number, "_product_image_gallery", ", ".join(gallery) + ","))
        for each in variants:
            made.append(
                "INSERT INTO {p}posts (ID, post_title, post_type, post_parent) "
                f"VALUES ({each + 100000}, 'In red', 'product_variation', {number})"
            )
            made.append(self._meta(each + 100000, "_thumbnail_id", each))
        return made, {f"2024/05/{100000 + n}.jpg": name for n, name in pictures}

    def _meta(self, post, key, value):
        return f"INSERT INTO {{p}}postmeta (post_id, meta_key, meta_value) VALUES ({post}, '{key}', '{value}')"

    def remove(self, number):
        return [f"UPDATE {{p}}posts SET post_status = 'trash' WHERE ID = {number}"]

    def link(self, number, code, place):
        return [f"REPLACE INTO {{p}}term_relationships VALUES ({number}, {code}, {place})"]

    def unlink(self, number, code):
        return [f"DELETE FROM {{p}}term_relationships WHERE object_id = {number} AND term_taxonomy_id = {code}"]


class OpenCart(System):
    has_places = False

    def __init__(self):
        super().__init__(
            preset="opencart",
            engine="mariadb",
            prefix="oc2_",
            folder="image",
            settings={"language": "2"},
            make=(
                "CREATE TABLE {p}product (product_id INT AUTO_INCREMENT PRIMARY KEY, model VARCHAR(64) NOT "
                "NULL, image "
                "VARCHAR(255) DEFAULT NULL, status TINYINT(1) NOT NULL DEFAULT 0, date_modified DATETIME NOT NULL)",
                "CREATE TABLE {p}product_image (product_image_id INT AUTO_INCREMENT PRIMARY KEY, product_id INT NOT "
                "NULL, image VARCHAR(255) DEFAULT NULL, sort_order INT NOT NULL DEFAULT 0, KEY (product_id))",
                "CREATE TABLE {p}product_to_store (product_id INT NOT NULL, store_id INT NOT NULL DEFAULT 0, "
                "PRIMARY KEY (product_id, store_id))",
                "CREATE TABLE {p}product_to_category (product_id INT NOT NULL, category_id INT NOT NULL, "
                "PRIMARY KEY (product_id, category_id), KEY (category_id))",
                "CREATE TABLE {p}language (language_id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(32) "
                "NOT NULL, code "
                "VARCHAR(5) NOT NULL)",
                "CREATE TABLE {p}category (category_id INT AUTO_INCREMENT PRIMARY KEY, parent_id INT NOT "
                "NULL DEFAULT "
                "0, top TINYINT(1) NOT NULL, `column` INT NOT NULL, status TINYINT(1) NOT NULL)",
                "CREATE TABLE {p}category_description (category_id INT NOT NULL, language_id INT NOT NULL, name "
                "VARCHAR(255) NOT NULL, PRIMARY KEY (category_id, language_id), KEY (name))",
                "CREATE TABLE {p}category_to_store (category_id INT NOT NULL, store_id INT NOT NULL, "
                "PRIMARY KEY (category_id, store_id))",
            ),
            own=(
                rows("{p}language", [(1, "English", "en-gb"), (2, "Francais", "fr-fr")]),
                rows("{p}category", [(code, above or 0, 1, 1, 1) for code, _, above in TREE]),
                rows(
                    "{p}category_description",
                    [(code, language, form.format(n)) for code, n, _ in TREE for language, form in LANGUAGES.items()],
                ),
                rows("{p}category_to_store", [(code, store) for code, *_ in TREE for store in (0, 1)]),
            ),
            tables={"{p}product": "*", "{p}product_image": "*", "{p}product_to_category": "*"},
            where="SELECT product_id, category_id FROM {p}product_to_category",
        )

    def product(self, number, pictures):
        places = {n: f"catalog/shop/{n} photo.jpg" for n, _ in pictures}
        main, *others = places
        made = [rows("{p}product", [(number, "M", places[main], 1, "2024-01-01 10:00:00")])]
        made.append(rows("{p}product_to_store", [(number, number % 2)]))
        made.append(rows("{p}product_to_category", [(number, CLOTHES)]))
        made += [rows("{p}product_image", [(n, number, places[n], 1)]) for n in others]
        return made, {places[n]: name for n, name in pictures}

    def remove(self, number):
        names = ("product", "product_image", "product_to_store", "product_to_category")
        return [f"DELETE FROM {{p}}{name} WHERE product_id = {number}" for name in names]

    def link(self, number, code, place):
        return [f"INSERT IGNORE INTO {{p}}product_to_category VALUES ({number}, {code})"]

    def unlink(self, number, code):
        return [f"DELETE FROM {{p}}product_to_category WHERE product_id = {number} AND category_id = {code}"]


class OpenCart3(OpenCart):
    """OpenCart 3 has MyISAM and three bytes a letter, where OpenCart 4 has InnoDB and four."""

    def __init__(self):
        super().__init__()
        self.prefix, self.settings = "oc_", {}
        self.make = tuple(f"{each} ENGINE=MyISAM DEFAULT CHARSET=utf8 COLLATE=utf8_general_ci" for each in self.make)


class PrestaShop(System):
    HOME = 2

    def __init__(self):
        super().__init__(
            preset="prestashop",
            engine="mariadb",
            prefix="pf_",
            folder="img/p",
            settings={"store": "3", "language": "2"},
            make=(
                "CREATE TABLE {p}product (id_product INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, "
                "id_category_default INT "
                "UNSIGNED DEFAULT NULL, reference VARCHAR(64), date_upd DATETIME NOT NULL, KEY "
                "(id_category_default))",
                "CREATE TABLE {p}product_shop (id_product INT UNSIGNED NOT NULL, id_shop INT UNSIGNED NOT NULL, "
                "id_category_default INT UNSIGNED DEFAULT NULL, active TINYINT(1) NOT NULL DEFAULT 0, "
                "PRIMARY KEY (id_product, id_shop), KEY (id_category_default))",
                "CREATE TABLE {p}category_product (id_category INT UNSIGNED NOT NULL, id_product INT "
                "UNSIGNED NOT NULL, "
                "position INT UNSIGNED NOT NULL DEFAULT 0, PRIMARY KEY (id_category, id_product), KEY (id_product))",
                "CREATE TABLE {p}image (id_image INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, id_product INT "
                "UNSIGNED NOT "
                "NULL, position SMALLINT UNSIGNED NOT NULL DEFAULT 0, cover TINYINT(1) UNSIGNED, "
                "UNIQUE (id_product, cover))",
                "CREATE TABLE {p}shop (id_shop INT AUTO_INCREMENT PRIMARY KEY, id_shop_group INT NOT NULL, name "
                "VARCHAR(64) NOT NULL)",
                "CREATE TABLE {p}lang (id_lang INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(32) NOT NULL)",
                "CREATE TABLE {p}category (id_category INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, id_parent "
                "INT UNSIGNED "
                "NOT NULL, level_depth TINYINT UNSIGNED NOT NULL DEFAULT 0, active TINYINT(1) NOT NULL DEFAULT 0, "
                "is_root_category TINYINT(1) NOT NULL DEFAULT 0)",
                "CREATE TABLE {p}category_shop (id_category INT NOT NULL, id_shop INT NOT NULL, position "
                "INT UNSIGNED "
                "NOT NULL DEFAULT 0, PRIMARY KEY (id_category, id_shop))",
                "CREATE TABLE {p}category_lang (id_category INT UNSIGNED NOT NULL, id_shop INT UNSIGNED NOT "
                "NULL DEFAULT "
                "1, id_lang INT UNSIGNED NOT NULL, name VARCHAR(128) NOT NULL, description TEXT, "
                "PRIMARY KEY (id_category, id_shop, id_lang))",
            ),
            own=(
                rows("{p}shop", [(1, 1, "Main"), (3, 1, "Outlet")]),
                rows("{p}lang", [(1, "English"), (2, "Francais")]),
                rows("{p}category", [(1, 0, 0, 1, 0), (self.HOME, 1, 1, 1, 1)]),
                rows("{p}category", [(code, above or self.HOME, 2, 1, 0) for code, _, above in TREE]),
                rows(
                    "{p}category_shop",
                    [(c, shop, 0) for c in (1, 2, *(code for code, *_ in TREE)) for shop in (1, 3)],
                ),
                rows(
                    "{p}category_lang",
                    [
                        (code, shop, language, form.format(name), "")
                        for code, name, _ in [(1, "Root", None), (2, "Home", None), *TREE]
                        for shop in (1, 3)
                        for language, form in LANGUAGES.items()
                    ],
                ),
                # A product of the other shop alone.
                rows("{p}product", [(9000, self.HOME, "other", "2024-01-01 10:00:00")]),
                rows("{p}product_shop", [(9000, 1, self.HOME, 1)]),
                rows("{p}image", [(90000, 9000, 1, 1)]),
            ),
            tables={"{p}product": "*", "{p}product_shop": "*", "{p}category_product": "*", "{p}image": "*"},
            where=(
                "SELECT p.id_product, p.id_category_default FROM {p}product p JOIN {p}product_shop s "
                "ON s.id_product = p.id_product AND s.id_shop = 3 AND s.id_category_default = p.id_category_default "
                "JOIN {p}category_product l ON l.id_product = p.id_product AND l.id_category = p.id_category_default"
            ),
        )

    def product(self, number, pictures):
        made = [rows("{p}product", [(number, self.HOME, "R", "2024-01-01 10:00:00")])]
        made.append(rows("{p}product_shop", [(number, shop, self.HOME, 1) for shop in (1, 3)]))
        made.append(rows("{p}category_product", [(self.HOME, number, 5)]))
        made += [
            rows("{p}image", [(n, number, place, 1 if place == 1 else None)])
            for place, (n, _) in enumerate(pictures, start=1)
        ]
        return made, {"/".join(str(n)) + f"/{n}.jpg": name for n, name in pictures}

    def remove(self, number):
        names = ("product", "product_shop", "category_product", "image")
        return [f"DELETE FROM {{p}}{name} WHERE id_product = {number}" for name in names]

    def link(self, number, code, place):
        return [f"REPLACE INTO {{p}}category_product VALUES ({code}, {number}, {place})"]

    def choose(self, number, code):
        names = ("product", "product_shop")
        chosen = [
            f"UPDATE {{p}}{name} SET id_category_default = {code} WHERE id_product = {number}" for name in names
        ]
        return [*chosen, *self.link(number, code, 8)]

    def unlink(self, number, code):
        return [f"DELETE FROM {{p}}category_product WHERE id_product = {number} AND id_category = {code}"]


class Magento(System):
    ATTRIBUTE = 137

    def __init__(self, preset="magento", prefix="m2_"):
        is_attribute = preset != "magento"
        super().__init__(
            preset=preset,
            engine="mariadb",
            prefix=prefix,
            folder="pub/media/catalog/product",
            settings={"attribute": str(self.ATTRIBUTE), "store": "2"} if is_attribute else {"store": "2"},
            make=(
                "CREATE TABLE {p}store (store_id SMALLINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, code "
                "VARCHAR(32), name "
                "VARCHAR(255) NOT NULL)",
                "CREATE TABLE {p}eav_entity_type (entity_type_id SMALLINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, "
                "entity_type_code VARCHAR(50) NOT NULL)",
                "CREATE TABLE {p}eav_attribute (attribute_id SMALLINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, "
                "entity_type_id SMALLINT UNSIGNED NOT NULL, attribute_code VARCHAR(255) NOT NULL, backend_type "
                "VARCHAR(8) NOT NULL DEFAULT 'static', frontend_input VARCHAR(50), is_user_defined SMALLINT UNSIGNED "
                "NOT NULL DEFAULT 0, UNIQUE (entity_type_id, attribute_code))",
                "CREATE TABLE {p}catalog_product_entity (entity_id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, sku "
                "VARCHAR(64) NOT NULL, type_id VARCHAR(32) NOT NULL DEFAULT 'simple')",
                "CREATE TABLE {p}catalog_product_entity_media_gallery (value_id INT UNSIGNED AUTO_INCREMENT PRIMARY "
                "KEY, attribute_id SMALLINT UNSIGNED NOT NULL DEFAULT 0, value VARCHAR(255), media_type VARCHAR(32) "
                "NOT NULL DEFAULT 'image', disabled SMALLINT UNSIGNED NOT NULL DEFAULT 0)",
                "CREATE TABLE {p}catalog_product_entity_media_gallery_value_to_entity (value_id INT "
                "UNSIGNED NOT NULL, "
                "entity_id INT UNSIGNED NOT NULL, PRIMARY KEY (value_id, entity_id), FOREIGN KEY (entity_id) "
                "REFERENCES {p}catalog_product_entity (entity_id) ON DELETE CASCADE)",
                "CREATE TABLE {p}catalog_product_entity_int (value_id INT AUTO_INCREMENT PRIMARY KEY, attribute_id "
                "SMALLINT UNSIGNED NOT NULL DEFAULT 0, store_id SMALLINT UNSIGNED NOT NULL DEFAULT 0, entity_id INT "
                "UNSIGNED NOT NULL DEFAULT 0, value INT, UNIQUE (entity_id, attribute_id, store_id), FOREIGN KEY "
                "(attribute_id) REFERENCES {p}eav_attribute (attribute_id), FOREIGN KEY (entity_id) REFERENCES "
                "{p}catalog_product_entity (entity_id) ON DELETE CASCADE, FOREIGN KEY (store_id) REFERENCES {p}store "
                "(store_id))",
                "CREATE TABLE {p}eav_attribute_option (option_id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, "
                "attribute_id "
                "SMALLINT UNSIGNED NOT NULL DEFAULT 0, sort_order SMALLINT UNSIGNED NOT NULL DEFAULT 0)",
                "CREATE TABLE {p}eav_attribute_option_value (value_id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, "
                "option_id INT UNSIGNED NOT NULL DEFAULT 0, store_id SMALLINT UNSIGNED NOT NULL DEFAULT 0, value "
                "VARCHAR(255))",
                "CREATE TABLE {p}catalog_category_entity (entity_id INT UNSIGNED AUTO_INCREMENT PRIMARY "
                "KEY, parent_id "
                "INT UNSIGNED NOT NULL DEFAULT 0, path VARCHAR(255) NOT NULL, level INT NOT NULL DEFAULT 0)",
                "CREATE TABLE {p}catalog_category_entity_varchar (value_id INT AUTO_INCREMENT PRIMARY KEY, "
                "attribute_id SMALLINT UNSIGNED NOT NULL, store_id SMALLINT UNSIGNED NOT NULL, entity_id "
                "INT UNSIGNED "
                "NOT NULL, value VARCHAR(255), UNIQUE (entity_id, attribute_id, store_id))",
                "CREATE TABLE {p}catalog_category_product (entity_id INT AUTO_INCREMENT, category_id INT "
                "UNSIGNED NOT "
                "NULL DEFAULT 0, product_id INT UNSIGNED NOT NULL DEFAULT 0, position INT NOT NULL "
                "DEFAULT 0, PRIMARY "
                "KEY (entity_id, category_id, product_id), UNIQUE (category_id, product_id), FOREIGN KEY "
                "(product_id) "
                "REFERENCES {p}catalog_product_entity (entity_id) ON DELETE CASCADE, FOREIGN KEY (category_id) "
                "REFERENCES {p}catalog_category_entity (entity_id) ON DELETE CASCADE)",
                # As `Update by Schedule` has it: a trigger notes what is to be indexed.
                "CREATE TABLE {p}category_product_cl (version_id INT AUTO_INCREMENT PRIMARY KEY, entity_id INT)",
                "CREATE TRIGGER {p}noted AFTER INSERT ON {p}catalog_category_product FOR EACH ROW "
                "INSERT INTO {p}category_product_cl (entity_id) VALUES (NEW.product_id)",
            ),
            own=(
                "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",
                rows("{p}store", [(0, "admin", "Admin"), (1, "en", "English"), (2, "fr", "Francais")]),
                rows("{p}eav_entity_type", [(3, "catalog_category"), (4, "catalog_product")]),
                rows(
                    "{p}eav_attribute",
                    [
                        (45, 3, "name", "varchar", "text", 0),
                        (90, 4, "media_gallery", "static", "gallery", 0),
                        (97, 4, "status", "int", "select", 0),
                        (self.ATTRIBUTE, 4, "garment", "int", "select", 1),
                    ],
                ),
                rows("{p}catalog_category_entity", [(1, 0, "1", 0), (2, 1, "1/2", 1)]),
                rows("{p}catalog_category_entity", [(code, above or 2, f"1/2/{code}", 2) for code, _, above in TREE]),
                # The categories are named for all stores; in one store, some have other names.
                rows(
                    "{p}catalog_category_entity_varchar",
                    [(None, 45, 0, code, name) for code, name, _ in [(2, "Default", None), *TREE]]
                    + [(None, 45, 2, HEADWEAR, "Couvre-chefs")],
                ),
                rows("{p}eav_attribute_option", [(code, self.ATTRIBUTE, 0) for code in CODES.values()]),
                rows("{p}eav_attribute_option", [(5, 97, 0)]),
                rows("{p}eav_attribute_option_value", [(None, code, 0, label) for label, code in CODES.items()]),
                rows("{p}eav_attribute_option_value", [(None, code, 2, f"{n} (fr)") for n, code in CODES.items()]),
            ),
            tables={
                "{p}catalog_product_entity": "*",
                "{p}catalog_category_product": "category_id, product_id, position",
                "{p}catalog_product_entity_int": "attribute_id, store_id, entity_id, value",
                "{p}catalog_product_entity_media_gallery_value_to_entity": "*",
            },
            where=(
                f"SELECT entity_id, value FROM {{p}}catalog_product_entity_int WHERE attribute_id = {self.ATTRIBUTE} "
                "AND store_id = 2"
                if is_attribute
                else "SELECT product_id, category_id FROM {p}catalog_category_product"
            ),
        )

    def product(self, number, pictures):
        made = [rows("{p}catalog_product_entity", [(number, f"sku{number}", "simple")])]
        made.append(rows("{p}catalog_category_product", [(None, CLOTHES, number, 4)]))
        made.append(
            rows("{p}catalog_product_entity_int", [(None, 97, 0, number, 1), (None, self.ATTRIBUTE, 1, number, 31)])
        )
        for n, _ in pictures:
            value = (n, 90, f"/s/h/shop_{n}.jpg", "image", 0)
            made.append(rows("{p}catalog_product_entity_media_gallery", [value]))
            made.append(rows("{p}catalog_product_entity_media_gallery_value_to_entity", [(n, number)]))
        film = (500000 + number, 90, "/f/i/film.jpg", "external-video", 0)
        made.append(rows("{p}catalog_product_entity_media_gallery", [film]))
        made.append(rows("{p}catalog_product_entity_media_gallery_value_to_entity", [(500000 + number, number)]))
        return made, {f"s/h/shop_{n}.jpg": name for n, name in pictures}

    def remove(self, number):
        return [f"DELETE FROM {{p}}catalog_product_entity WHERE entity_id = {number}"]

    def link(self, number, code, place):
        return [
            f"DELETE FROM {{p}}catalog_category_product WHERE product_id = {number} AND category_id = {code}",
            rows("{p}catalog_category_product", [(None, code, number, place)]),
        ]

    def unlink(self, number, code):
        return [f"DELETE FROM {{p}}catalog_category_product WHERE product_id = {number} AND category_id = {code}"]


class MagentoAttribute(Magento):
    has_places = False

    def __init__(self):
        super().__init__("magento-attribute", "")

    def link(self, number, code, place):
        return [
            *self.unlink(number, code),
            rows("{p}catalog_product_entity_int", [(None, self.ATTRIBUTE, 2, number, code)]),
        ]

    def unlink(self, number, code):
        where = f"entity_id = {number} AND attribute_id = {self.ATTRIBUTE} AND store_id = 2"
        return [f"DELETE FROM {{p}}catalog_product_entity_int WHERE {where}"]


class Spree(System):
    record = "Spree::Asset"

    def __init__(self):
        super().__init__(
            preset="spree",
            engine="postgresql",
            prefix="boutique_",
            folder="storage",
            make=(
                "CREATE TABLE {p}products (id BIGSERIAL PRIMARY KEY, name VARCHAR NOT NULL DEFAULT '', deleted_at "
                "TIMESTAMP)",
                "CREATE TABLE {p}variants (id BIGSERIAL PRIMARY KEY, sku VARCHAR NOT NULL DEFAULT '', product_id "
                "BIGINT, is_master BOOLEAN DEFAULT FALSE, deleted_at TIMESTAMP)",
                "CREATE TABLE {p}assets (id BIGSERIAL PRIMARY KEY, viewable_type VARCHAR, viewable_id BIGINT, type "
                "VARCHAR(75), position INTEGER, alt TEXT)",
                "CREATE TABLE {p}stores (id BIGSERIAL PRIMARY KEY, name VARCHAR)",
                "CREATE TABLE {p}products_stores (id BIGSERIAL PRIMARY KEY, product_id BIGINT, store_id BIGINT, "
                "UNIQUE (product_id, store_id))",
                "CREATE TABLE {p}taxons (id BIGSERIAL PRIMARY KEY, parent_id BIGINT, position INTEGER "
                "DEFAULT 0, name "
                "VARCHAR NOT NULL, taxonomy_id BIGINT, lft BIGINT, rgt BIGINT)",
                "CREATE TABLE {p}products_taxons (id BIGSERIAL PRIMARY KEY, product_id BIGINT, taxon_id BIGINT, "
                "position INTEGER, created_at TIMESTAMP, updated_at TIMESTAMP, UNIQUE (product_id, taxon_id))",
                "CREATE TABLE IF NOT EXISTS active_storage_blobs (id BIGSERIAL PRIMARY KEY, key VARCHAR NOT "
                "NULL UNIQUE, "
                "filename VARCHAR NOT NULL, content_type VARCHAR, byte_size BIGINT NOT NULL, checksum VARCHAR)",
                "CREATE TABLE IF NOT EXISTS active_storage_attachments (id BIGSERIAL PRIMARY KEY, name "
                "VARCHAR NOT NULL, "
                "record_type VARCHAR NOT NULL, record_id BIGINT NOT NULL, blob_id BIGINT NOT NULL, "
                "UNIQUE (record_type, record_id, name, blob_id))",
            ),
            own=(
                rows("{p}stores", [(1, "Main"), (2, "Outlet")]),
                rows("{p}taxons", [(code, above, 0, name, 1, 1, 2) for code, name, above in TREE]),
            ),
            tables={"{p}products": "*", "{p}products_taxons": "product_id, taxon_id, position", "{p}assets": "*"},
            where="SELECT product_id, taxon_id FROM {p}products_taxons",
        )

    def product(self, number, pictures):
        made = [f"INSERT INTO {{p}}products VALUES ({number}, 'Product', NULL)"]
        made.append(f"INSERT INTO {{p}}products_stores (product_id, store_id) VALUES ({number}, {1 + number % 2})")
        made.append(
            f"INSERT INTO {{p}}products_taxons (product_id, taxon_id, position) VALUES ({number}, {CLOTHES}, 3)"
        )
        files = {}
        for place, (n, name) in enumerate(pictures):
            variant = number * 10 + place
            made.append(f"INSERT INTO {{p}}variants VALUES ({variant}, 'V', {number}, {place == 0}, NULL)")
            made.append(f"INSERT INTO {{p}}assets VALUES ({n}, 'Spree::Variant', {variant}, 'Spree::Image', 1, NULL)")
            key = f"{n:06}abcdefghij"[::-1]
            made.append(self.once(f"active_storage_blobs VALUES ({n}, '{key}', '{name}', 'image/png', 1, 'sum{n}')"))
            attached = f"({n}, 'attachment', '{self.record}', {n}, {n})"
            made.append(self.once(f"active_storage_attachments VALUES {attached}"))
            files[f"{key[:2]}/{key[2:4]}/{key}"] = name
        return made, files

    def once(self, row):
        """Return the statement that adds a row of a table that the twin has as well."""
        return f"INSERT INTO {row} ON CONFLICT DO NOTHING"

    def remove(self, number):
        return [f"UPDATE {{p}}products SET deleted_at = '2024-06-01' WHERE id = {number}"]

    def repaint(self, picture):
        return [f"UPDATE active_storage_blobs SET checksum = 'other' WHERE id = {picture}"]

    def link(self, number, code, place):
        return [
            *self.unlink(number, code),
            f"INSERT INTO {{p}}products_taxons (product_id, taxon_id, position) VALUES ({number}, {code}, {place})",
        ]

    def unlink(self, number, code):
        return [f"DELETE FROM {{p}}products_taxons WHERE product_id = {number} AND taxon_id = {code}"]


class Solidus(Spree):
    """Solidus, here on MariaDB: nothing there keeps a product from being linked twice with a taxon."""

    record = "Spree::Image"

    def __init__(self):
        super().__init__()
        self.engine, self.prefix = "mariadb", "spree_"
        self.make = tuple(map(self._of_mariadb, self.make))

    def _of_mariadb(self, statement):
        found = statement.replace("BIGSERIAL", "BIGINT AUTO_INCREMENT").replace("TIMESTAMP", "DATETIME(6)")
        found = re.sub(r"VARCHAR(?!\()", "VARCHAR(191)", found.replace(" key ", " `key` "))
        return found.replace(", UNIQUE (product_id, taxon_id)", "")

    def once(self, row):
        return f"INSERT IGNORE INTO {row}"


SYSTEMS = (WooCommerce, OpenCart, OpenCart3, PrestaShop, Magento, MagentoAttribute, Spree, Solidus)
