-- What the API may do. The worker's rights are in chassis/grants.sql.
GRANT SELECT ON steps, order_lines, sales TO analytics_api;
