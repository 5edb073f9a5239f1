"""Who may open a session with us, how many, and how fast?"""
