"""Answer which rules the user has written down for peers, in a file for bots that run without a person.

``parse`` turns the file into rules, ``secret_file`` reads the secrets that it names, and ``watcher`` holds the rules and sees
changes. They may import ``passwords`` and ``trust_uri`` beside this folder. Rules and errors leave through callables.
"""
