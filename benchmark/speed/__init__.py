"""How fast the suite trains, compared with a usual training loop and with the device's limits.

May import every room but `cli`. Read `measure.py` first: it lists the measurements in order.
"""
