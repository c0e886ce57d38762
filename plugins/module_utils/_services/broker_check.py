# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be right with the site's own Kafka; each problem names the variable that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .connection import ServiceError, address, connect
from .kafka import Broker, LoginError, Metadata

# No model has such a name, so that asking about it tells of rights alone.
PROBE = "mlops-onprem--probe"


@dataclass(frozen=True)
class Login:
    """A user of the platform's. ``key``: its name in C(mlops_broker_users), or admin."""

    key: str
    username: str
    secret: str
    password: str

    @property
    def variable(self) -> str:
        return "mlops_broker_admin_user" if self.key == "admin" else f"mlops_broker_users.{self.key}"


class BrokerCheck:
    """:param prefix: what the prediction stream's topics begin with."""

    def __init__(self, brokers: Sequence[Broker], *, prefix: str, timeout: float) -> None:
        self.brokers = brokers
        self.prefix = prefix
        self.timeout = timeout
        self.problems: list[str] = []
        self.found: tuple[tuple[str, int], ...] = ()

    def look(self, logins: Sequence[Login]) -> None:
        usable = [broker for broker in self.brokers if self._is_usable(broker, logins)]
        if not usable:
            return
        for login in logins:
            self._as_user(usable[0], login)
        self._advertised(usable[0])

    def _advertised(self, asked: Broker) -> None:
        """Whether clients may go where the brokers send them."""
        named = {(broker.host, broker.port) for broker in self.brokers}
        for host, port in self.found:
            if (host, port) in named:
                continue
            self._problem(
                "mlops_broker_bootstrap",
                f"{asked} names {address(host, port)} to its clients, which isn't in the list: name every broker, "
                "so that a way is opened to each",
            )
            try:
                connect(host, port, self.timeout).close()
            except ServiceError as error:
                self._problem("mlops_broker_bootstrap", f"{error.message}, and {asked} names it to its clients")

    def _is_usable(self, broker: Broker, logins: Sequence[Login]) -> bool:
        """Whether it answers as Kafka does, to whoever has a password."""
        login = next((login for login in logins if login.password), None)
        try:
            if login is None:
                connect(broker.host, broker.port, broker.timeout).close()
            else:
                broker.login(login.username, login.password).close()
        except LoginError as error:
            if error.about == "mechanism":
                self._problem("mlops_broker_bootstrap", f"{error.message}, which the platform logs in with")
                return False
        except ServiceError as error:
            variable = "mlops_broker_ca" if error.about == "ca" else "mlops_broker_bootstrap"
            self._problem(variable, f"{broker}: {error.message}")
            return False
        return True

    def _as_user(self, broker: Broker, login: Login) -> None:
        if not login.password:
            self._problem(
                f"mlops_secrets.{login.secret}", f"the password of '{login.username}' at {broker} is not given: set it"
            )
            return
        topic = f"{self.prefix}{PROBE}"
        try:
            with broker.login(login.username, login.password) as session:
                metadata = session.metadata([topic])
        except LoginError as error:
            self._problem(
                f"mlops_secrets.{login.secret}", f"{broker} doesn't let '{login.username}' in: {error.message}"
            )
            return
        except ServiceError as error:
            self._problem("mlops_broker_bootstrap", f"{broker}: {error.message}")
            return
        self._rights(broker, login, metadata)

    def _rights(self, broker: Broker, login: Login, metadata: Metadata) -> None:
        self.found = self.found or metadata.brokers
        if metadata.refused:
            right = "write to" if login.key == "serving" else "read"
            self._problem(
                login.variable,
                f"'{login.username}' may not {right} the topics {self.prefix}* at {broker}: grant it, by prefix "
                "(kafka-acls --resource-pattern-type prefixed)",
            )

    def _problem(self, variable: str, message: str) -> None:
        text = f"{variable}: {message}"
        if text not in self.problems:
            self.problems.append(text)
