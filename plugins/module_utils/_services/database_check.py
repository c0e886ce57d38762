# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be right with the site's own PostgreSQL; each problem names the variable that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .connection import ServiceError
from .postgresql import PostgresqlError, Server, Session

OLDEST = 14
TABLES = """
SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
MAY_MAKE_TABLES = "SELECT has_schema_privilege('public', 'CREATE') AND has_schema_privilege('public', 'USAGE')"


@dataclass(frozen=True)
class Grant:
    """A database that a component uses, and as whom. ``rights``: owner makes the tables, writer changes their rows,
    reader sees them."""

    component: str
    database_key: str
    database: str
    user_key: str
    user: str
    secret: str
    password: str
    rights: str

    @property
    def database_variable(self) -> str:
        return f"mlops_database_names.{self.database_key}"

    @property
    def user_variable(self) -> str:
        return f"mlops_database_users.{self.user_key}"


@dataclass(frozen=True)
class Admin:
    """Who makes the databases and their users."""

    user: str
    password: str
    database: str
    secret: str


class DatabaseCheck:
    """:param owner: the mark on what this platform made, so that it never takes over what is somebody else's.
    :param installed: components that run already: their databases must not be empty.
    """

    def __init__(self, server: Server, *, owner: str, installed: Sequence[str] = ()) -> None:
        self.server = server
        self.owner = owner
        self.installed = installed
        self.problems: list[str] = []
        self.version = ""
        self._empty: list[str] = []

    def look(self, grants: Sequence[Grant], admin: Admin | None) -> None:
        try:
            if admin is None:
                for grant in grants:
                    self._as_user(grant)
            else:
                self._as_admin(admin, grants)
        except ServiceError as error:
            self._unusable(error)
        if self._empty:
            self.problems.append(
                f"mlops_database_provider: the platform runs already, and its data are not in {self.server} "
                f"({', '.join(self._empty)}: no tables). They don't move by themselves: move them first, "
                "or set mlops_data_moved: [database] to begin without them"
            )

    # what the site made

    def _as_user(self, grant: Grant) -> None:
        if not grant.password:
            self._problem(
                f"mlops_secrets.{grant.secret}",
                f"the password of '{grant.user}' at {self.server} is not given: set it, or let the platform make its "
                "users (mlops_database_admin_user)",
            )
            return
        session = self._login(grant.user, grant.password, grant.database, grant, f"mlops_secrets.{grant.secret}")
        if session is None:
            return
        with session:
            if not self._server_fits(session):
                return
            encoding = session.value("SHOW server_encoding")
            if encoding != "UTF8":
                self._problem(
                    grant.database_variable,
                    f"'{grant.database}' has the encoding {encoding}: make it with ENCODING 'UTF8'",
                )
            if grant.rights == "owner":
                if session.value(MAY_MAKE_TABLES) != "t":
                    self._problem(
                        grant.user_variable,
                        f"'{grant.user}' may not make tables in '{grant.database}': "
                        f"ALTER DATABASE {grant.database} OWNER TO {grant.user}, or GRANT ALL ON SCHEMA public TO it",
                    )
                self._data(session, grant)

    # what the platform makes

    def _as_admin(self, admin: Admin, grants: Sequence[Grant]) -> None:
        if not admin.password:
            self._problem(
                f"mlops_secrets.{admin.secret}", f"the password of '{admin.user}' at {self.server} is not given: set it"
            )
            return
        session = self._login(admin.user, admin.password, admin.database, None, f"mlops_secrets.{admin.secret}")
        if session is None:
            return
        with session:
            if not self._server_fits(session):
                return
            self._rights(session, admin)
            for key, user in {grant.user_key: grant.user for grant in grants}.items():
                self._role(session, key, user)
            owners = [grant for grant in grants if grant.rights == "owner"]
            holders = [self._holder(session, grant) for grant in owners]
        for grant, holder in zip(owners, holders):  # noqa: B905  Python 3.9 has no strict
            if holder is None:
                self._missing(grant)
            elif holder == grant.user and grant.component in self.installed:
                inside = self._login(admin.user, admin.password, grant.database, grant, f"mlops_secrets.{admin.secret}")
                if inside is not None:
                    with inside:
                        self._data(inside, grant)

    def _rights(self, session: Session, admin: Admin) -> None:
        rows = session.query("SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user")
        is_super, may_make_roles, may_make_databases = (value == "t" for value in rows[0])
        missing = [
            name for name, held in (("CREATEROLE", may_make_roles), ("CREATEDB", may_make_databases)) if not held
        ]
        if missing and not is_super:
            self._problem(
                "mlops_database_admin_user",
                f"'{admin.user}' may not make databases and users: ALTER ROLE {admin.user} {' '.join(missing)}, "
                "or make them yourself and leave the variable out",
            )

    def _role(self, session: Session, key: str, user: str) -> None:
        found = session.query(
            "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = $1", user
        )
        if found and found[0][0] != self.owner:
            self._problem(
                f"mlops_database_users.{key}",
                f"{self.server} has a role '{user}' that this platform didn't make: set another name, or hand it over "
                f"with COMMENT ON ROLE {user} IS '{self.owner}'",
            )

    def _holder(self, session: Session, grant: Grant) -> str | None:
        holder = session.value("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", grant.database)
        if holder is not None and holder != grant.user:
            self._problem(
                grant.database_variable,
                f"{self.server} has a database '{grant.database}' that belongs to '{holder}': set another name, or "
                f"hand it over with ALTER DATABASE {grant.database} OWNER TO {grant.user}",
            )
        return holder

    # both

    def _login(self, user: str, password: str, database: str, grant: Grant | None, secret: str) -> Session | None:
        """None where the server refuses it; what concerns all logins is raised."""
        user_variable = grant.user_variable if grant else "mlops_database_admin_user"
        database_variable = grant.database_variable if grant else "mlops_database_admin_database"
        try:
            return self.server.login(user, password, database)
        except PostgresqlError as error:
            if error.about == "28P01":
                self._problem(secret, f"{self.server} refuses the password of '{user}': {error.message}")
            elif error.about in ("28000", "42501"):
                self._problem(user_variable, f"{self.server} doesn't let '{user}' into '{database}': {error.message}")
            elif error.about == "3D000":
                todo = "make it"
                if grant:
                    todo += (
                        f" (CREATE DATABASE {database} OWNER {user}), or let the platform (mlops_database_admin_user)"
                    )
                self._problem(database_variable, f"{self.server} has no database '{database}': {todo}")
            else:
                raise
        return None

    def _server_fits(self, session: Session) -> bool:
        if self.version:
            return True
        number = int(session.value("SHOW server_version_num") or 0)
        version = session.value("SHOW server_version") or ""
        if number < OLDEST * 10000:
            self._problem(
                "mlops_database_host", f"{self.server} is PostgreSQL {version}, and {OLDEST} or newer is needed"
            )
            return False
        if session.value("SHOW transaction_read_only") == "on":
            self._problem(
                "mlops_database_host", f"{self.server} takes no changes (a standby?): name the primary server"
            )
            return False
        self.version = version
        return True

    def _data(self, session: Session, grant: Grant) -> None:
        if session.value(TABLES) == "0":
            self._missing(grant)

    def _missing(self, grant: Grant) -> None:
        if grant.component in self.installed:
            self._empty.append(grant.database)

    def _unusable(self, error: ServiceError) -> None:
        variable = {
            "port": "mlops_database_port",
            "tls": "mlops_database_sslmode",
            "sslmode": "mlops_database_sslmode",
            "ca": "mlops_database_ca",
        }.get(error.about, "mlops_database_host")
        self._problem(variable, error.message)

    def _problem(self, variable: str, message: str) -> None:
        text = f"{variable}: {message}"
        if text not in self.problems:
            self.problems.append(text)
