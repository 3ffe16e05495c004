-- The tables of a small shop. Plain SQL, the same for SQLite, PostgreSQL and MySQL.
CREATE TABLE products (
    sku VARCHAR(20) NOT NULL PRIMARY KEY,
    title VARCHAR(100) NOT NULL,
    price NUMERIC(8, 2) NOT NULL
);

CREATE TABLE product_images (
    id INTEGER NOT NULL PRIMARY KEY,
    sku VARCHAR(20) NOT NULL REFERENCES products (sku),
    position INTEGER NOT NULL,
    file VARCHAR(200) NOT NULL
);
