"""The innermost frame of a stack, whatever its message looks like."""

import pytest

from otel_rum_exporter import RumConfig
from otel_rum_exporter.convert import errors

CONFIG = RumConfig.load({"app_monitor_id": "11111111-2222-3333-4444-555555555555"}, {})
LONG = "x" * 20_000
TRACEBACK = (
    'Traceback (most recent call last):\n  File "/srv/outer.py", line 1, in a\n    b()\n'
    '  File "/srv/inner.py", line 9, in b\n    raise ValueError\nValueError: '
)
UNPKG = "https://unpkg.example/react@18.2.0/umd/react.js"


@pytest.mark.parametrize(
    ("stack", "frame"),
    [
        (f"{UNPKG}:10:5\nfoo@https://a.example/b.js:2:3", (UNPKG, 10, 5)),
        (f"render@{UNPKG}:10:5", (UNPKG, 10, 5)),
        (f"E: m\n    at {UNPKG}:10:5", (UNPKG, 10, 5)),
        (f"E: m\n    at Object.f [as g] ({UNPKG}:10:5)", (UNPKG, 10, 5)),
        ("E: bad mail jo@host:12:13\n    at f (https://a.example/b.js:2:3)", ("https://a.example/b.js", 2, 3)),
        ("E: bad\nmail jo@host:12:13\n    at f (https://a.example/b.js:2:3)", ("https://a.example/b.js", 2, 3)),
        ("E: bad mail jo@host:12:13", None),
        ("global code@https://a.example/b.js:2:3", ("https://a.example/b.js", 2, 3)),
        ("async*get x/<@https://a.example/b.js:2:3", ("https://a.example/b.js", 2, 3)),
        ("@https://a.example/b.js:2:3", ("https://a.example/b.js", 2, 3)),
        ("onClick@main.js:3:4", ("main.js", 3, 4)),
        ("E: m\n    at <anonymous>:1:2\n    at native:1:2\n    at f (b.js:2:3)", ("b.js", 2, 3)),
        ("E: m\n    at async f (file:///srv/b.mjs:2:3)", ("file:///srv/b.mjs", 2, 3)),
        ("E: m\n    at f (address at index.android.bundle:1:23456)", ("index.android.bundle", 1, 23456)),
        ("a.B: m\n\tat a.C$d$1.invoke(C.kt:23)\n\tat a.E.f(E.java:4)", ("C.kt", 23, None)),
        (
            "a.B: m\n\tat java.base/jdk.C.d(Native Method)\n\tat app//a.E.<init>(E.java:4) ~[e.jar:1.0]",
            ("E.java", 4, None),
        ),
        ("a.B: at a.C.d(C.kt:23)\n\tat a.E.f(Unknown Source)", None),
        (TRACEBACK + "short", ("/srv/inner.py", 9, None)),
        (TRACEBACK + LONG, ("/srv/inner.py", 9, None)),
        (f"{TRACEBACK}{LONG}\nat f (b.js:2:3)", ("/srv/inner.py", 9, None)),
        ('E: File "/srv/a.py", line 1\n' + LONG, None),
        ("", None),
    ],
)
def test_innermost_frame(stack, frame):
    """It is where the error was raised: no line of the message, and no part of a URL."""
    assert errors.innermost_frame(stack) == frame


def test_frames_that_are_cut():
    """A line number that stands where the search ends is not taken for a shorter one."""
    padding = "y" * (16_384 - 1 - len("Traceback (most recent call last):\n" + '  File "/srv/a.py", line 1, in f\n'))
    stack = f'Traceback (most recent call last):\n  File "/srv/a.py", line 1, in f\n{padding[:-25]}\n  File "/srv/b.py", line 1234, in g\n'
    assert errors.innermost_frame(stack + LONG) == ("/srv/a.py", 1, None)


@pytest.mark.parametrize(("message", "kept"), [("short", "ValueError: short"), (LONG, 'File "/srv/inner.py", line 9')])
def test_what_is_kept_of_a_traceback(message, kept):
    """Its end, or its beginning where a long message would be all of its end."""
    assert kept in errors.cut_stack(TRACEBACK + message, 200, CONFIG)
