"""The command ``xmpp-e2e``: it stands on slixmpp_e2e, and holds no cryptography and no protocol of its own.

``app`` has the commands; ``account`` finds accounts and passwords, ``connection`` logs in; ``sending``, ``listening``,
``trusting`` and ``sharing`` do what the commands say; ``demo`` tells a story; ``show`` renders and
``codes`` chooses the exit code.
"""
