"""``probe trace``: where does it die?"""
