"""Answer how the key is kept that encrypts the secrets in a store: in a key file, in the system's keyring, or as a passphrase.

``protection`` is what the store uses; the other modules keep the key. They may import the errors of the store and the
vocabulary below it.
"""
