"""Bodies that nobody would send: real ones, with something changed. The same number gives the same change."""

import json

from bombs import member

MAX_BYTES = 256 * 1024  # a mutated body; repeated slices would let it grow and grow

STRANGE = [
    None, True, False, -1, 0, 1.5, 2**63, 2**64, 10**30, -(2**70), 1e300, "", "x", "9" * 20, "-", "\u0663", "\ud800", "NaN",
    [], [None], {}, {"": {}}, [[]], [{}], "00" * 16, "zz" * 8, {"stringValue": 7}, {"arrayValue": {"values": [None, {}]}},
]  # fmt: skip


def mutated_bytes(body, others, random):
    """The body after one to four changes of its bytes."""
    changed = bytearray(body)
    for _ in range(random.randint(1, 4)):
        random.choice(_CHANGES)(changed, others, random)
        del changed[MAX_BYTES:]
    return bytes(changed)


def mutated_json(document, random):
    """The document as JSON, after one or two changes of its structure."""
    for _ in range(random.randint(1, 2)):
        document = _mangled(document, random)
    return json.dumps(document).encode()


def mutated_messages(body, random):
    """The protobuf body after one or two changes of its members, in messages whose lengths are right."""
    for _ in range(random.randint(1, 2)):
        body = _with_changed_member(body, random)
    return body[:MAX_BYTES]


def _with_changed_member(body, random):
    """The message with something changed in it, or in a message within it."""
    members = _members(body)
    if not members or random.random() < 0.03:
        return random.choice(
            [b"", b"\x00", random.randbytes(random.randint(1, 20)), bytes(16), b"\xff" * 8, body + body]
        )
    index = random.randrange(len(members))
    tag, content = members[index]
    if random.random() < 0.8:
        changed = [(tag, _with_changed_member(content, random) if tag[0] & 7 == 2 else random.randbytes(len(content)))]
    else:
        another = bytes([random.randrange(1, 16) << 3 | 2])
        changed = random.choice([[], [(tag, content)] * random.choice([2, 40]), [(another, content)]])
    members[index : index + 1] = changed
    return b"".join(member(tag, content) if tag[0] & 7 == 2 else tag + content for tag, content in members)


def _members(body):
    """A message's members as tags and contents, none if it is no message with tags of one byte."""
    members, position = [], 0
    while position < len(body):
        tag, start = body[position : position + 1], position + 1
        kind = tag[0] & 7
        if kind == 2:
            start, length = _number(body, start)
            position = start + length
        else:
            position = _number(body, start)[0] if kind == 0 else start + {1: 8, 5: 4}.get(kind, len(body))
        if tag[0] > 127 or position > len(body):
            return []
        members.append((tag, body[start:position]))
    return members


def _number(body, position):
    value = shift = 0
    while position < len(body) and shift < 64:
        value |= (body[position] & 127) << shift
        shift, position = shift + 7, position + 1
        if body[position - 1] < 128:
            return position, value
    return len(body) + 1, 0


def _slice(body, random):
    start = random.randint(0, len(body))
    return slice(start, start + random.randint(0, 64))


def _flip(body, _others, random):
    for _ in range(random.randint(1, 8)):
        if body:
            body[random.randrange(len(body))] ^= 1 << random.randrange(8)


def _overwrite(body, _others, random):
    if body:  # lengths, tags and quotes: one more, one less, the largest, none
        position = random.randrange(len(body))
        body[position] = random.choice([0, 0x7F, 0x80, 0xFF, (body[position] + 1) % 256, (body[position] - 1) % 256])


def _truncate(body, _others, random):
    del body[random.randint(0, len(body)) :]


def _remove(body, _others, random):
    del body[_slice(body, random)]


def _repeat(body, _others, random):
    part = _slice(body, random)
    body[part.start : part.start] = body[part] * random.choice([1, 2, 100])


def _insert(body, _others, random):
    start = random.randint(0, len(body))
    body[start:start] = random.choice(
        [random.randbytes(random.randint(1, 16)), b"\xff" * 9 + b"\x01", b"[" * 2000, b"\\ud800"]
    )


def _splice(body, others, random):
    other = random.choice(others)
    start = random.randint(0, len(body))
    body[start:] = other[random.randint(0, len(other)) :]


_CHANGES = (_flip, _flip, _overwrite, _overwrite, _truncate, _remove, _repeat, _insert, _splice)


def _mangled(value, random):
    """The value with something changed at one place of it."""
    if random.random() < 0.03 or not isinstance(value, dict | list) or not value:
        return random.choice(STRANGE)
    if isinstance(value, dict):
        return _mangled_object(value, random)
    index = random.randrange(len(value))
    if random.random() < 0.1:
        return value[:index] + value[index + 1 :] if random.random() < 0.5 else [*value, value[index]]
    return [*value[:index], _mangled(value[index], random), *value[index + 1 :]]


def _mangled_object(value, random):
    key = random.choice(list(value))
    if random.random() < 0.1:
        others = {name: member for name, member in value.items() if name != key}
        return others if random.random() < 0.5 else {**others, key.upper(): value[key]}
    return {**value, key: _mangled(value[key], random)}
