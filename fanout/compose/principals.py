"""Makes Kafka's users and rights what they should be: missing ones are added, others are taken away."""

from typing import Any

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from fanout.compose.permissions import Right

ANSWER_SECONDS = 30
ITERATIONS = 4096


def ensure_users(admin: AdminClient, passwords: dict[str, str]) -> None:
    """Their passwords cannot be compared, so each is set again."""
    kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, kind, password.encode()) for user, password in passwords.items()
    ]
    for done in admin.alter_user_scram_credentials(wanted, request_timeout=ANSWER_SECONDS).values():
        done.result()


def ensure_rights(admin: AdminClient, rights: set[Right]) -> list[str]:
    wanted = {_key(binding): binding for binding in map(_binding, rights)}
    anything: Any = None
    everything = AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        anything,
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    found = {_key(binding): binding for binding in admin.describe_acls(everything).result(ANSWER_SECONDS)}
    missing = [binding for key, binding in wanted.items() if key not in found]
    surplus = [binding for key, binding in found.items() if key not in wanted]
    if missing:
        for done in admin.create_acls(missing, request_timeout=ANSWER_SECONDS).values():
            done.result()
    if surplus:
        for gone in admin.delete_acls(list(map(_filter, surplus)), request_timeout=ANSWER_SECONDS).values():
            gone.result()
    added = sorted({binding.principal for binding in missing})
    rights_of = [f"rights of {principal.removeprefix('User:')}" for principal in added]
    return rights_of + [f"{binding.name} is closed to {binding.principal} again" for binding in surplus]


def _binding(right: Right) -> AclBinding:
    return AclBinding(
        ResourceType[right.kind.upper()],
        right.name,
        ResourcePatternType.LITERAL,
        f"User:{right.principal}",
        "*",
        AclOperation[right.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _filter(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )


def _key(binding: AclBinding) -> tuple[str, ...]:
    """What makes two the same; the host is always any."""
    return (
        binding.principal,
        str(binding.permission_type),
        str(binding.operation),
        str(binding.restype),
        str(binding.resource_pattern_type),
        binding.name,
    )
