"""Is a set sound, are its members told differently, and is it free of evaluation items?"""
