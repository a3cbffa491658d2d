"""Side-by-side measurements on one machine in one run: ratios are what counts, never a wall-clock
limit.
"""
