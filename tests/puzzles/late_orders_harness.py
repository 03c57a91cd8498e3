import importlib

import hitmap

ORDERS = (("late_orders", "late_orders_other"), ("late_orders_other", "late_orders"))


@hitmap.harness
def run(data):
    for name in ORDERS[data[:1] > b"a"]:
        importlib.import_module(name).run(data)
