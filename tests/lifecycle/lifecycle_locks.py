"""All locks that the package has in this process, found by looking at its objects: none can be forgotten."""

import gc
import sys
import threading

PACKAGE = "otel_rum_exporter"
KINDS = (type(threading.Lock()), type(threading.RLock()), threading.Condition)


def locks_of_package():
    """Return the locks by the class and attribute, or the module and name, that hold them."""
    modules = [(name, module) for name, module in list(sys.modules.items()) if name.startswith(PACKAGE)]
    objects = [(type(each).__name__, each) for each in gc.get_objects() if type(each).__module__.startswith(PACKAGE)]
    found, seen = {}, set()
    for owner, each in modules + objects:
        for name, value in _attributes(each):
            if isinstance(value, KINDS) and id(value) not in seen:
                seen.add(id(value))
                found.setdefault(_unused(f"{owner}.{name}", found), value)
    return found


def _attributes(each):
    slots = [name for kind in type(each).__mro__ for name in getattr(kind, "__slots__", ())]
    names = {*slots, *getattr(each, "__dict__", {})}
    return [(name, getattr(each, name, None)) for name in sorted(names)]


def _unused(name, found):
    number = sum(known.split("-")[0] == name for known in found)
    return f"{name}-{number}" if number else name
