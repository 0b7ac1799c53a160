"""Set-up: databases, migrations, topics and contracts. Each step says what it changed; a second run changes nothing."""
