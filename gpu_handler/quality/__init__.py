"""What keeps a dub right: terms, numbers, wording that fits, a steady tempo, and checks of what a voice made.

Everything here is a function of its arguments: no engine, no clock, no file.
"""
