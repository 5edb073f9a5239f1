"""The route of each stanza, and the queue of those that wait for a session.

Enters: what slixmpp is about to send, what it has received, and what comes out of sessions. Leaves: stanzas, into sessions, in
plaintext, or to the handlers; an event for each that cannot be sent or is not delivered. May import sessions/ and below.

In: ``outgoing`` (the way out) · ``incoming`` (the way in) · ``scope`` (what is never encrypted) · ``routing`` (which devices) ·
``queue`` (what waits) · ``iq_tracking`` (answers stay inside) · ``failures`` (senders are told) · ``changes``, ``streams``
(what changes about peers and about our own stream).
"""
