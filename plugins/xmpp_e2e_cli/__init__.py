"""The command ``xmpp-e2e``. It uses slixmpp_e2e, and has no cryptography and no protocol of its own.

It may import everything else; nothing imports it. A command line enters; an exit code and lines on stdout and stderr leave.
``app`` and ``commands`` define the command line, and each ``cmd_…`` module does the work of one command. ``account`` finds
the account and its password, ``connection`` logs in, ``prompts`` asks the user, ``output`` prints, ``errors`` says what
failed, ``exit_codes`` maps errors to exit codes. ``demo`` is the demonstration.
"""
