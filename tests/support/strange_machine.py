"""Names a folder and sets environment variables that have kept, or could keep, the stack from starting."""

ODD_NAME = "p ü #1 ;2 \"3\" %4 %(x)s $5 '6', 7"

NO_PROXY_HERE = "http://127.0.0.1:1"
HOSTILE = {
    **dict.fromkeys(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"], NO_PROXY_HERE),
    **dict.fromkeys(["ALL_PROXY", "all_proxy"], "socks5://127.0.0.1:1"),
    **dict.fromkeys(
        ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"], "/no/such/file"
    ),
    "PGHOST": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGDATABASE": "none",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/no/such/file",
    "PGPASSFILE": "/no/such/file",
    "PGSERVICE": "none",
    "PGOPTIONS": "-c search_path=none",
    "PGDATA": "/no/such/folder",
    "PGTZ": "Asia/Tokyo",
    "JAVA_TOOL_OPTIONS": "-Xmx1k",
    "JDK_JAVA_OPTIONS": "-Xmx1k",
    "_JAVA_OPTIONS": "-Xmx1k",
    "CLASSPATH": "/no/such/file",
    "KAFKA_OPTS": "-Xmx1k",
    "LOG4J_CONFIGURATION_FILE": "/no/such/file",
    "QUARKUS_HTTP_PORT": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C",
    "TMPDIR": "/tmp",
}
