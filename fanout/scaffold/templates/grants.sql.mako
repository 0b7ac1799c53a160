-- The rights of the API in containers. The rights of the worker are in chassis/grants.sql.
% for table in tables:
GRANT SELECT ON ${table} TO ${name}_api;
% endfor
