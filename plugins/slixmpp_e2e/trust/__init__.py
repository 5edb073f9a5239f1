"""What do we know of our own key and of the peers'?"""
