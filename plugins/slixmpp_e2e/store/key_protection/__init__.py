"""What protects the secrets in the store?"""
