"""A service that runs agents for its users: an audit event for each run, and a security event for each use of a key.

pip install "otel-kafka-exporter" fastapi uvicorn python-multipart
export KAFKA_BOOTSTRAP_SERVERS=localhost:9092 OTEL_SERVICE_NAME=agents
uvicorn agent_service:app

curl -X POST localhost:8000/agents/api-architect -H "X-API-Key: right" -d request="a plan"
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Header, HTTPException, Request

from otel_kafka_exporter import AuditAction, LoggingEventPublisher, SecurityEventType

TENANT = "tenant-123"
USERS = {hashlib.sha256(b"right").hexdigest(): "user-456"}  # a real service keeps these elsewhere


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # One publisher for the whole service. With the outbox it starts without Kafka, and loses nothing meanwhile.
    publisher = LoggingEventPublisher(outbox=True)
    await publisher.start()
    app.state.publisher = publisher
    yield
    await publisher.stop()


app = FastAPI(lifespan=lifespan)


async def user_of_key(request: Request, x_api_key: Annotated[str, Header()] = "") -> str:
    """Who has this key; each use of one is a security event, which has its hash and never the key."""
    hashed = hashlib.sha256(x_api_key.encode()).hexdigest()
    user = USERS.get(hashed)
    await request.app.state.publisher.publish_security_log(
        tenant_id=TENANT,
        event_type=SecurityEventType.API_KEY_USED,
        user_id=user or "unknown",
        resource=request.url.path,
        decision="allow" if user else "deny",
        context={"api_key_hash": f"sha256:{hashed}", "user_agent": request.headers.get("user-agent", "")},
    )
    if user is None:
        raise HTTPException(401, "wrong API key")
    return user


@app.post("/agents/{name}")
async def run_agent(
    http: Request, name: str, user: Annotated[str, Depends(user_of_key)], request: Annotated[str, Form()]
) -> dict[str, str]:
    publisher: LoggingEventPublisher = http.app.state.publisher

    async def audit(outcome: str, **context: str) -> None:
        published = await publisher.publish_audit_log(
            tenant_id=TENANT,
            action=AuditAction.AGENT_EXECUTION,
            actor=user,
            resource=name,
            outcome=outcome,
            context=context,
        )
        if not published:
            # What may not happen unseen does not happen.
            raise HTTPException(503, "the audit trail is not available")

    try:
        summary = await execute(name, request)
    except ValueError as error:
        await audit("failure", error=str(error))
        raise HTTPException(400, str(error)) from error
    await audit("success", result_summary=summary)
    return {"summary": summary}


async def execute(name: str, request: str) -> str:
    if name == "unknown":
        raise ValueError("there is no such agent")
    return f"{name} did: {request}"
