"""What does the trust file say?"""
