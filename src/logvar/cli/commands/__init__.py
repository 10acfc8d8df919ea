"""The commands as users see them: flags, help, and the checks that need nothing heavy.

What a command does is in the module of the same name one level up, imported when it runs.
"""
