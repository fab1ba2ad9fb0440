"""``probe state``: how long does the way back stay open?"""
