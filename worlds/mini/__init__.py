"""The factory and the laboratory of the mini world: `python -m worlds.mini` builds, checks and measures it.

The world itself (what is drawn, the words, the judge, the raters) is `dfprompt.mini`, in the package.
"""
