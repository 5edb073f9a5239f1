"""Runs an unmodified slixmpp program against a server of the scenes.

    python -m interop.programs.run PORT CA STORE PROGRAM [ARGUMENT …]

This stands for what the machine of a user has: DNS, which finds the server on 127.0.0.1, the authority that certified it (CA, a
file; ``-`` for a server without TLS), and a place for the key. The program itself is not touched. The environment variable
SETTINGS may hold other defaults of the plugin, as JSON, for waits that are shorter than a user's.
"""

from __future__ import annotations

import json
import os
import runpy
import ssl
import sys
from typing import Any

from slixmpp import ClientXMPP

from slixmpp_e2e.settings import DEFAULTS
from xmpp_loopback import no_tls

HOST = "127.0.0.1"


def stand_in(port: int, ca: str) -> None:
    """Let every client find the server on this port, and trust the authority."""
    every: Any = ClientXMPP
    dial = every.connect

    def connect(client: ClientXMPP, *_: object, **__: object) -> Any:
        login = client.plugin["feature_mechanisms"]
        login.use_mech = "PLAIN"  # the rounds of SCRAM would be half of a login
        client.enable_direct_tls = False
        if ca == "-":
            client.enable_starttls, client.enable_plaintext, login.unencrypted_plain = False, True, True
            client.ssl_context = no_tls()
        else:
            client.ssl_context = ssl.create_default_context(cafile=ca)
        return dial(client, HOST, port)

    every.connect = connect


if __name__ == "__main__":
    _, port, ca, DEFAULTS["store_path"], program, *arguments = sys.argv
    DEFAULTS.update(json.loads(os.environ.get("SETTINGS", "{}")))
    stand_in(int(port), ca)
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")
