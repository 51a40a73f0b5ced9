"""Changes of accounts that must see each other: of two at the same time, the second looks when the first is done."""

from __future__ import annotations

from collections.abc import Mapping

from npc_contour.store.connection import ACCOUNTS_LOCK
from npc_contour.store.statements import Statements

_OTHER_ADMINS = (
    "SELECT count(*) AS others FROM account WHERE role = 'admin' AND NOT disabled AND lower(name) <> lower(%(name)s)"
)
_IS_ADMIN = "SELECT role = 'admin' AND NOT disabled AS is_admin FROM account WHERE lower(name) = lower(%(name)s)"


class AccountChanges(Statements):
    """The part of a transaction that concerns accounts."""

    def change_account(self, values: Mapping[str, object], *, keep_an_admin: bool) -> bool:
        """Replace role, password and state of an account; return whether it was done.

        Args:
            values: name, role, password_hash, disabled, subject.
            keep_an_admin: whether to do nothing where this takes the last enabled admin away.
        """
        self._run("SELECT pg_advisory_xact_lock(%s)", (ACCOUNTS_LOCK,))
        before = self._one(_IS_ADMIN, values)
        stays = values["role"] == "admin" and not values["disabled"]
        if keep_an_admin and before is not None and before["is_admin"] and not stays:
            others = self._one(_OTHER_ADMINS, values)
            if not others or not others["others"]:
                return False
        return bool(
            self._all(
                "UPDATE account SET role = %(role)s, password_hash = %(password_hash)s, disabled = %(disabled)s,"
                " subject = %(subject)s WHERE lower(name) = lower(%(name)s) RETURNING name",
                values,
            )
        )
