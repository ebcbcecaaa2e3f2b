"""The terminal phone. `desk.py` is the phone without a screen, `app.py` shows it; the rest is what these two need.

What is heavy (the client, codecs) is imported after the first picture is on the screen.
"""
