-- What the shop reads in the morning: our best answer for each photo, in its own codes.
SELECT p.sku, p.title, a.code, a.name, a.parent, ROUND(CAST(a.confidence AS DECIMAL(6, 4)), 2) AS confidence
FROM products p
JOIN cataloger_image_codes a ON a.product_key = p.sku
WHERE a.rank = 1
ORDER BY p.sku, a.key;
