"""Does it do what was asked?"""
