-- The rights of the API. The rights of the worker are in chassis/grants.sql.
GRANT SELECT ON steps, order_lines, sales TO analytics_api;
