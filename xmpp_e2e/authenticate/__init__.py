"""Who is it? The hello on both sides, and the authenticators: one file each."""
