"""`python -m fanout.compose.secrets`: writes a folder for each container with the secrets it needs, and no others.

Passwords and the key that signs tokens are random, made once, and kept in setup's folder. Each file can be read by one
account only; the folders belong to the owner of the repository, who can delete them. The servers' settings are copied
from deploy/, because a checkout under umask 077 cannot be read by the accounts of the servers.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from fanout.compose.logins import BROKER, EXPORTER, OPERATOR, SETUP, apis, processes, workers
from fanout.observe.targets import Target, as_json
from fanout.repository import services

SECRETS, OWNER, DEPLOY = Path("/secrets"), Path("/app/services"), Path("/app/deploy")
FINGERPRINT = Path("/postgres/password.sha256")
"""In the volume of Postgres, from deploy/postgres/fingerprint.sh; absent as long as there is no data."""
SERVICES_UID, POSTGRES_UID, KAFKA_UID, REGISTRY_UID = 10001, 999, 1000, 1001
JAEGER_UID, PROMETHEUS_UID, GRAFANA_UID = 10001, 65534, 472
NEEDED_MB = 2_200
PASSWORDS = "passwords.json"
GRAFANA = "grafana"
"""The name of its folder, and of the password of its administrator, who cannot log in."""
TOKEN_KEY = "token_private_key.pem"

JAAS = """\
KafkaServer {{
  org.apache.kafka.common.security.plain.PlainLoginModule required
    username="{broker}" password="{passwords[broker]}"
    user_{broker}="{passwords[broker]}" user_{setup}="{passwords[setup]}";
  org.apache.kafka.common.security.scram.ScramLoginModule required;
}};
"""

File = tuple[str, int, str]
"""Path under the folder of secrets, uid of its reader, and content."""


class TokenKeys(NamedTuple):
    """`private` is PEM, `public` as `FANOUT_TOKEN_PUBLIC_KEY` wants it."""

    private: str
    public: str


def main() -> None:
    _require_memory()
    owner, kept = OWNER.stat(), _kept_passwords()
    _give(SECRETS, owner)
    _require_password_of_data(kept)
    secrets, shared = list(files(_with_missing(kept), _token_keys(), owner.st_uid)), list(settings(DEPLOY))
    for folder in {SECRETS / Path(path).parent for path, _, _ in [*secrets, *shared]}:
        _give(folder, owner)
    for path, uid, text in secrets:
        _write(SECRETS / path, uid, text, 0o400)
    for path, uid, text in shared:
        _write(SECRETS / path, uid, text, 0o644)  # the images write on in copies of them, which get this mode


def logins() -> list[str]:
    """Every login that has a password, with the owners of the databases, which only setup uses."""
    fixed = ["postgres", "registry", BROKER, SETUP, OPERATOR, EXPORTER, GRAFANA]
    return [*fixed, *services(), *(process.login for process in processes())]


def files(passwords: dict[str, str], keys: TokenKeys, owner: int) -> Iterator[File]:
    yield f"{SETUP}/{PASSWORDS}", SERVICES_UID, json.dumps(passwords, indent=2)
    yield "postgres/postgres_password", POSTGRES_UID, passwords["postgres"]
    yield "postgres/registry_password", POSTGRES_UID, passwords["registry"]
    registry = f"apicurio.datasource.password={passwords['registry']}\n"
    yield "registry/application.properties", REGISTRY_UID, registry
    yield "kafka/jaas.conf", KAFKA_UID, JAAS.format(broker=BROKER, setup=SETUP, passwords=passwords)
    yield f"{OPERATOR}/password", owner, passwords[OPERATOR]
    yield f"{GRAFANA}/admin_password", GRAFANA_UID, passwords[GRAFANA]
    for container, login in (("fanout", OPERATOR), (EXPORTER, EXPORTER)):
        text = json.dumps(_addresses(login, passwords[login]), indent=2)
        yield f"{container}/addresses.json", SERVICES_UID, text
    for signing in (SETUP, "fanout"):
        yield f"{signing}/{TOKEN_KEY}", SERVICES_UID, keys.private
    for api in apis():
        yield f"{api.name}/fanout_token_public_key", SERVICES_UID, keys.public
    for process in processes():
        url = _database_url(process.login, passwords[process.login], process.service)
        yield f"{process.name}/fanout_database_url", SERVICES_UID, url
    for worker in workers():
        yield f"{worker.name}/fanout_kafka_user", SERVICES_UID, worker.login
        yield f"{worker.name}/fanout_kafka_password", SERVICES_UID, passwords[worker.login]


def settings(deploy: Path) -> Iterator[File]:
    """Yields the files of deploy/ that a server reads."""
    readers = {"kafka/compose": KAFKA_UID, "postgres": POSTGRES_UID, "registry": REGISTRY_UID}
    for folder, uid in readers.items():
        for file in sorted((deploy / folder).iterdir()):
            yield f"{folder.split('/')[0]}-settings/{file.name}", uid, file.read_text()
    yield from _settings_of_observers(deploy / "observability")


def _settings_of_observers(folder: Path) -> Iterator[File]:
    """Yields what Jaeger, Prometheus, Alertmanager and Grafana read."""
    yield "jaeger-settings/jaeger.yml", JAEGER_UID, (folder / "jaeger.yml").read_text()
    for name in ("prometheus.yml", "rules.yml"):
        yield f"prometheus-settings/{name}", PROMETHEUS_UID, (folder / name).read_text()
    targets = [Target(each.name, f"{each.name}:8000", each.service) for each in processes()]
    targets.append(Target(EXPORTER, f"{EXPORTER}:8000"))
    yield "prometheus-settings/targets.json", PROMETHEUS_UID, as_json(targets)
    alertmanagers = json.dumps([{"targets": ["alertmanager:9093"]}])
    yield "prometheus-settings/alertmanagers.json", PROMETHEUS_UID, alertmanagers
    text = (folder / "alertmanager.yml").read_text()
    yield "alertmanager-settings/alertmanager.yml", PROMETHEUS_UID, text
    places = {
        "grafana-datasources": "provisioning/datasources",
        "grafana-providers": "provisioning/dashboards",
        "grafana-dashboards": "dashboards",
    }
    for name, place in places.items():
        for file in sorted((folder / "grafana" / place).iterdir()):
            yield f"{name}/{file.name}", GRAFANA_UID, file.read_text()


def _addresses(login: str, password: str) -> dict[str, Any]:
    """Returns the fields of `fanout.running.Addresses`, as the containers of the tool reach the others."""
    return {
        "kafka": "kafka:9092",
        "token_key": f"/run/secrets/{TOKEN_KEY}",
        "kafka_user": login,
        "kafka_password": password,
        "registry_url": "http://registry-proxy:8080/apis/ccompat/v7",
        "databases": {name: _database_url(login, password, name) for name in services()},
        "apis": {api.service: f"http://{api.name}:8000" for api in apis()},
        "workers": {worker.service: f"http://{worker.name}:8000" for worker in workers()},
    }


def _database_url(login: str, password: str, database: str) -> str:
    return f"postgresql+asyncpg://{login}:{password}@postgres:5432/{database}"


def _kept_passwords() -> dict[str, str]:
    file = SECRETS / SETUP / PASSWORDS
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _with_missing(kept: dict[str, str]) -> dict[str, str]:
    return kept | {name: token_hex(24) for name in logins() if name not in kept}


def _require_password_of_data(kept: dict[str, str]) -> None:
    """Ends the start if Postgres has data that was made with another password: every login would fail for ever."""
    if not FINGERPRINT.exists():
        return
    if FINGERPRINT.read_text().split()[0] != sha256(kept.get("postgres", "").encode()).hexdigest():
        sys.exit(
            "the passwords of the data that is kept in Docker's volumes are not in .secrets: put the .secrets that "
            "belongs to this data back in its place, or delete the data with docker compose down -v"
        )


def _token_keys() -> TokenKeys:
    """Makes the pair with the openssl of the image: a bare Python has no Ed25519."""
    file = SECRETS / SETUP / TOKEN_KEY
    private = file.read_bytes() if file.exists() else _openssl("genpkey", "-algorithm", "ed25519")
    public = _openssl("pkey", "-pubout", "-outform", "DER", given=private)
    return TokenKeys(private.decode(), base64.b64encode(public).decode())


def _openssl(*arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        sys.exit(
            f"the key in .secrets/{SETUP}/{TOKEN_KEY} is not usable ({reason[-1:]}): delete it, then run this again"
        )
    return done.stdout


def _give(folder: Path, owner: os.stat_result) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    os.chown(folder, owner.st_uid, owner.st_gid)


def _write(file: Path, uid: int, text: str, mode: int) -> None:
    """Replaces the file in one step, so that no process reads half a secret; leaves a correct file alone."""
    if file.exists() and file.read_text() == text and file.stat().st_uid == uid:
        return
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as opened:
        opened.write(text)
    fresh.chmod(mode)
    os.chown(fresh, uid, uid)
    os.replace(fresh, file)
    print(f"wrote {file.relative_to(SECRETS)}")


def _require_memory() -> None:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemTotal"].split()[0]) // 1024
    if available < NEEDED_MB:
        sys.exit(f"Docker has {available} MB of memory and Fanout takes {NEEDED_MB}: give Docker more")


if __name__ == "__main__":
    main()
