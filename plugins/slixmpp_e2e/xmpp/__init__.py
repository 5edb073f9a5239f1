"""How do we speak with slixmpp? The only room that touches what slixmpp does not promise."""
