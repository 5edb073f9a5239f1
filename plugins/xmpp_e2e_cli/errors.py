"""The command's own errors: a few classes, and a reason that tells their causes apart and brings its words."""

from __future__ import annotations

import enum

from slixmpp_e2e.alarms import Words
from xmpp_e2e.errors import E2EError


class UsageReason(enum.StrEnum):
    """What needs a correction before the command can run."""

    USAGE = "usage"
    """The arguments, or a file that they name."""
    ACCOUNT_UNCLEAR = "account-unclear"
    """No account was named, and there is not exactly one on this machine."""
    NOT_INITIALIZED = "not-initialized"
    """The account has no key on this machine yet."""
    PASSWORD_NEEDED = "password-needed"
    """No password of the account was found, and nobody can be asked."""
    PASSPHRASE_NEEDED = "passphrase-needed"
    """No passphrase of the store was found, and nobody can be asked."""
    BACKUP_PASSPHRASE_NEEDED = "backup-passphrase-needed"
    """No passphrase of the backup was found, and nobody can be asked."""
    NO_TERMINAL = "no-terminal"
    """There is no terminal to ask at."""
    INVALID_SECRET = "invalid-secret"
    """The input is not a usable key or password."""
    FILE_NOT_PRIVATE = "file-not-private"
    """Others can read or change the file with a secret."""
    KEY_NOT_FOUND = "key-not-found"
    """The store has no such key of the peer."""
    SECRET_NOT_FOUND = "secret-not-found"
    """No such secret is shared with the peer."""
    NO_PROSODY = "no-prosody"
    """The demo cannot start Prosody from here."""


class UsageError(E2EError):
    """The command cannot run with these arguments, files or settings."""

    def __init__(self, message: str, reason: UsageReason = UsageReason.USAGE) -> None:
        super().__init__(message)
        self.reason = reason
        self.likely, self.attack, self.remedy = _USAGE_WORDS.get(reason, Words())


_USAGE_WORDS = {
    UsageReason.PASSWORD_NEEDED: Words(
        remedy="Use --password-file FILE, the environment variable XMPP_E2E_PASSWORD, the keyring (keyring set xmpp-e2e JID),"
        " or a terminal. Never the command line: others can read it."
    ),
    UsageReason.PASSPHRASE_NEEDED: Words(
        remedy="Use --passphrase-file FILE, the environment variable XMPP_E2E_PASSPHRASE, or a terminal."
        " To replace a passphrase: --new-passphrase-file FILE, XMPP_E2E_NEW_PASSPHRASE."
    ),
    UsageReason.BACKUP_PASSPHRASE_NEEDED: Words(
        remedy="Use --backup-passphrase-file FILE, the environment variable XMPP_E2E_BACKUP_PASSPHRASE, or a terminal."
    ),
    UsageReason.NO_TERMINAL: Words(
        remedy="Run it in a terminal. Or verify with a shared secret: --password --file FILE, or --key."
    ),
    UsageReason.FILE_NOT_PRIVATE: Words(
        likely="It was made with the permissions that files usually have.",
        attack="Another user of this machine reads the secret, or puts another in its place.",
        remedy="Make the file yours alone. If others may have read it, choose another secret.",
    ),
    UsageReason.NO_PROSODY: Words(remedy="Without --server, the demo needs nothing else."),
}
"""What the message does not say itself."""


class ConnectionReason(enum.StrEnum):
    """Why there is no stream to the server."""

    UNREACHABLE = "unreachable"
    """The command could not open a stream to the server."""
    CERTIFICATE_REFUSED = "certificate-refused"
    """The server's certificate is not valid for its domain."""
    TLS_NOT_OFFERED = "tls-not-offered"
    LOGIN_REFUSED = "login-refused"
    """The server refused the password."""
    CONNECTION_LOST = "connection-lost"
    """The stream to the server ended while the command was running."""
    REPLACED = "replaced"
    """Another program logged in with the same resource, and the server ended our stream (RFC 6120 §4.9.3.3, conflict)."""


class ConnectionFailed(E2EError):
    """The command has no stream to the account's server."""

    def __init__(self, message: str, reason: ConnectionReason) -> None:
        super().__init__(message)
        self.reason = reason
        self.likely, self.attack, self.remedy = _CONNECTION_WORDS[reason]


_CONNECTION_WORDS = {
    ConnectionReason.UNREACHABLE: Words(
        likely="The server is down, or its name or port is wrong.",
        attack="Somebody on the path can block the connection. They learn nothing from it.",
        remedy="Check the address. --host and --port name a server that is not in DNS.",
    ),
    ConnectionReason.CERTIFICATE_REFUSED: Words(
        likely="The server uses a self-signed or an expired certificate.",
        attack="An impostor of your server who wants your password looks exactly like this.",
        remedy="The password was not sent. For your own certificate authority, use --ca-file FILE.pem.",
    ),
    ConnectionReason.TLS_NOT_OFFERED: Words(
        likely="The server or its port is meant for tests.",
        attack="Somebody on the path who removes the offer of TLS to get your password looks exactly like this.",
        remedy="The password was not sent. Check the address. Use --direct-tls for ports where TLS begins at once.",
    ),
    ConnectionReason.LOGIN_REFUSED: Words(
        likely="The password or the account's name is misspelt.",
        remedy="Check both. The password comes from --password-file, XMPP_E2E_PASSWORD, the keyring or the prompt.",
    ),
    ConnectionReason.CONNECTION_LOST: Words(
        likely="The network failed, or the server restarted.",
        remedy="Start the command again.",
    ),
    ConnectionReason.REPLACED: Words(
        likely="The command runs twice, with the same resource in its JID.",
        attack="Somebody knows your password, and logs in with it.",
        remedy="End the other program, or name no resource: the server then gives each a name of its own.",
    ),
}


class DemoFailed(E2EError):
    """The demo expected something that did not happen."""

    remedy = "Please report this, with the output above."
