"""What a front end must not forget: its users and where they are. SQLite by default, any SQL database by URL.

Passwords are never stored, only the digests that checking one needs (HA1, RFC 7616 §3.4.2), for each name a
client may log in with. Bindings keep wall time, so they mean the same after a restart. Every method is one
transaction; another process (`iceway user add`) may write to the same database at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import Any, Protocol

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.sip.registrar import Binding

ALGORITHMS = {"MD5": md5, "SHA-256": sha256}

_METADATA = MetaData()
_USERS = Table(
    "users",
    _METADATA,
    Column("aor", String(512), primary_key=True),
    Column("created_at", Float, nullable=False),
)
_DIGESTS = Table(
    "digests",
    _METADATA,
    Column("login", String(512), primary_key=True),
    Column("realm", String(255), primary_key=True),
    Column("algorithm", String(16), primary_key=True),
    Column("aor", String(512), nullable=False, index=True),
    Column("ha1", String(64), nullable=False),
)
_BINDINGS = Table(
    "bindings",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("aor", String(512), nullable=False, index=True),
    Column("contact", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("cseq", Integer, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("q", Float, nullable=False),
    Column("instance", Text),
    Column("reg_id", Integer),
    Column("outside", Boolean, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("updated_at", Float, nullable=False),
)
_SECRETS = Table(
    "secrets",
    _METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary(64), nullable=False),
)


@dataclass(frozen=True, slots=True)
class User:
    """`aor` is the user's address ("sip:alice@example.test"). `created_at` is wall time."""

    aor: str
    created_at: float


class UserStore(Protocol):
    """What checking a digest needs."""

    def ha1(self, login: str, realm: str, algorithm: str) -> str | None: ...

    def owner(self, login: str, realm: str) -> str | None: ...

    def has_user(self, aor: str) -> bool: ...


class SqlStore:
    """Users and bindings in one database. `SqlStore()` alone lives in memory."""

    def __init__(self, url: str = "sqlite://") -> None:
        try:
            parsed = make_url(url if "://" in url else f"sqlite:///{url}")
            options: dict[str, Any] = {}
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                _create_private(parsed.database)
            elif parsed.get_backend_name() == "sqlite":
                options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
            self._engine = create_engine(parsed, **options)
            if parsed.get_backend_name() == "sqlite":
                event.listen(self._engine, "connect", _set_up_sqlite)
            _METADATA.create_all(self._engine)
        except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
            raise EnvironmentFailure(
                f"The database {url} cannot be opened: {str(error).splitlines()[0]}",
                "Check that its directory exists and that this user may write there.",
            ) from error

    def close(self) -> None:
        self._engine.dispose()

    # --- users ----------------------------------------------------------------------------------------
    def set_user(self, aor: str, realm: str, logins: Sequence[str], password: str, wall_now: float) -> bool:
        """Add a user or change the password. True: the user is new."""
        if not password:
            raise UsageError("an empty password protects nobody")
        rows = [
            {
                "login": login,
                "realm": realm,
                "algorithm": algorithm,
                "aor": aor,
                "ha1": digest(f"{login}:{realm}:{password}".encode()).hexdigest(),
            }
            for login in logins
            for algorithm, digest in ALGORITHMS.items()
        ]
        with self._engine.begin() as connection:
            known = connection.execute(select(_USERS).where(_USERS.c.aor == aor)).first() is not None
            connection.execute(delete(_DIGESTS).where(_DIGESTS.c.aor == aor))
            connection.execute(insert(_DIGESTS), rows)
            if not known:
                connection.execute(insert(_USERS).values(aor=aor, created_at=wall_now))
        return not known

    def remove_user(self, aor: str) -> bool:
        """Remove a user with all bindings. False: there was none."""
        with self._engine.begin() as connection:
            connection.execute(delete(_DIGESTS).where(_DIGESTS.c.aor == aor))
            connection.execute(delete(_BINDINGS).where(_BINDINGS.c.aor == aor))
            return connection.execute(delete(_USERS).where(_USERS.c.aor == aor)).rowcount > 0

    def users(self) -> list[User]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(_USERS).order_by(_USERS.c.aor))
            return [User(row.aor, row.created_at) for row in rows]

    def has_user(self, aor: str) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(select(_USERS).where(_USERS.c.aor == aor)).first() is not None

    def ha1(self, login: str, realm: str, algorithm: str) -> str | None:
        """The stored digest, lower-case hex; None for an unknown login or an algorithm not kept."""
        with self._engine.connect() as connection:
            found: str | None = connection.execute(
                select(_DIGESTS.c.ha1).where(
                    _DIGESTS.c.login == login,
                    _DIGESTS.c.realm == realm,
                    _DIGESTS.c.algorithm == algorithm,
                )
            ).scalar()
            return found

    def owner(self, login: str, realm: str) -> str | None:
        """The address of record behind a login name."""
        with self._engine.connect() as connection:
            found: str | None = connection.execute(
                select(_DIGESTS.c.aor).where(_DIGESTS.c.login == login, _DIGESTS.c.realm == realm).limit(1)
            ).scalar()
            return found

    # --- the server's own ------------------------------------------------------------------------------
    def secret(self, name: str, fresh: bytes) -> bytes:
        """A key of the server's that outlives the process: the stored one, or `fresh`, now stored."""
        with self._engine.begin() as connection:
            found: bytes | None = connection.execute(
                select(_SECRETS.c.value).where(_SECRETS.c.name == name)
            ).scalar()
            if found is None:
                connection.execute(insert(_SECRETS).values(name=name, value=fresh))
            return fresh if found is None else found

    # --- bindings (iceway.sip.registrar.BindingStore) ---------------------------------------------------
    def bindings(self, aor: str) -> list[Binding]:
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(_BINDINGS).where(_BINDINGS.c.aor == aor).order_by(_BINDINGS.c.id)
            )
            return [_binding(row._mapping) for row in rows]

    def replace(self, aor: str, bindings: Sequence[Binding]) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(_BINDINGS).where(_BINDINGS.c.aor == aor))
            if bindings:
                connection.execute(insert(_BINDINGS), [_row(binding) for binding in bindings])

    def take_expired(self, wall_now: float) -> list[Binding]:
        expired = _BINDINGS.c.expires_at <= wall_now
        with self._engine.begin() as connection:
            rows = connection.execute(select(_BINDINGS).where(expired).order_by(_BINDINGS.c.id)).all()
            connection.execute(delete(_BINDINGS).where(expired))
        return [_binding(row._mapping) for row in rows]

    def next_expiry(self) -> float | None:
        with self._engine.connect() as connection:
            found: float | None = connection.execute(select(func.min(_BINDINGS.c.expires_at))).scalar()
            return found


def _create_private(database: str) -> None:
    """Digests are as good as passwords here: a new file is for its owner only, and SQLite's others follow it."""
    if database != ":memory:" and not database.startswith("file:"):
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _set_up_sqlite(connection: Any, _: object) -> None:
    """Readers and writers of several processes do not stop each other for long."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=2000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _row(binding: Binding) -> dict[str, object]:
    return {
        "aor": binding.aor,
        "contact": binding.contact,
        "call_id": binding.call_id,
        "cseq": binding.cseq,
        "expires_at": binding.expires_at,
        "path": json.dumps(binding.path),
        "q": binding.q,
        "instance": binding.instance,
        "reg_id": binding.reg_id,
        "outside": binding.outside,
        "user_agent": binding.user_agent,
        "updated_at": binding.updated_at,
    }


def _binding(row: Any) -> Binding:
    fields = {name: row[name] for name in row if name != "id"}
    fields["path"] = tuple(json.loads(fields["path"]))
    return Binding(**fields)
