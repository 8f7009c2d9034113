"""Brokers with TLS, a login and rights: their properties, and those of clients that may do everything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import trustme
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography.hazmat.primitives import serialization

from .kafka import KafkaCluster

ADMIN, ADMIN_PASSWORD = "admin", "admin-secret"
SCRAM = "SCRAM-SHA-256"
_PROTOCOLS = {
    (False, False): "PLAINTEXT",
    (True, False): "SSL",
    (False, True): "SASL_PLAINTEXT",
    (True, True): "SASL_SSL",
}
_TIMEOUT = 10.0


def secure_cluster(
    directory: Path,
    ca: trustme.CA | None = None,
    users: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    client: Mapping[str, str] | None = None,
) -> KafkaCluster:
    """A broker that is not open to everybody.

    Args:
        directory: for its files, and the CA's certificate in `ca.pem`.
        ca: has its listener speak TLS, with a certificate that it signs.
        users: has it ask for a login of one of these: with PLAIN by their passwords, with SCRAM by those that
            `let_in_by_scram` gives them; with rights that are granted.
        config: more properties of the broker.
        client: more properties of a client that may do everything.
    """
    directory.mkdir(parents=True, exist_ok=True)
    protocol = _PROTOCOLS[ca is not None, users is not None]
    broker = {"listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,PLAINTEXT:{protocol}"}
    client = {"security.protocol": protocol, **(client or {})}
    if ca is not None:
        server, trusted = directory / "server.pem", directory / "ca.pem"
        certificate = ca.issue_cert("127.0.0.1")
        chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
        server.write_bytes(_pkcs8(certificate.private_key_pem.bytes()) + chain)
        ca.cert_pem.write_to_path(trusted)
        broker |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(trusted),
        }
        client["ssl.ca.location"] = str(trusted)
    if users is not None:
        everybody = {ADMIN: ADMIN_PASSWORD, **users}
        known = " ".join(f'user_{name}="{password}"' for name, password in everybody.items())
        broker |= {
            "sasl.enabled.mechanisms": f"PLAIN,{SCRAM}",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": (
                "org.apache.kafka.common.security.plain.PlainLoginModule required"
                f' username="{ADMIN}" password="{ADMIN_PASSWORD}" {known};'
            ),
            f"listener.name.plaintext.{SCRAM.lower()}.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
        }
        client |= {"sasl.mechanism": "PLAIN", "sasl.username": ADMIN, "sasl.password": ADMIN_PASSWORD}
    return KafkaCluster(directory / "kafka", config={**broker, **(config or {})}, credentials=client)


def _pkcs8(key: bytes) -> bytes:
    """A key in the one form that Kafka reads."""
    loaded = serialization.load_pem_private_key(key, password=None)
    return loaded.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def let_in_by_scram(cluster: KafkaCluster, user: str, password: str) -> None:
    """Give a user a password for SCRAM, which the cluster keeps by itself."""
    credential = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), password.encode()
    )
    admin = cluster.admin_client()  # its futures need it alive
    for future in admin.alter_user_scram_credentials([credential]).values():
        future.result(_TIMEOUT)


def login(user: str, password: str, mechanism: str = "PLAIN") -> str:
    """A client's properties, as the setting `producer_config` has them."""
    return f"security.protocol=SASL_SSL,sasl.mechanism={mechanism},sasl.username={user},sasl.password={password}"


def grant(cluster: KafkaCluster, user: str, operation: AclOperation, *topics: str) -> None:
    """Give a user a right on topics."""
    literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    rules = [AclBinding(ResourceType.TOPIC, topic, literal, f"User:{user}", "*", operation, allow) for topic in topics]
    admin = cluster.admin_client()  # its futures need it alive
    for future in admin.create_acls(rules).values():
        future.result(_TIMEOUT)
