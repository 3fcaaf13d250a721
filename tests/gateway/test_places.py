"""The places of connections: who has the most makes room."""

from otel_rum_exporter.gateway.places import Places


class Connection:
    """A connection that takes note when it is ended."""

    def __init__(self, *, may_give_way=True):
        self.may_give_way = may_give_way
        self.has_ended = False

    def give_way(self):
        self.has_ended = True


def taken(places, client, number, **kind):
    """Take places for so many connections; returns those that got one."""
    connections = [Connection(**kind) for _ in range(number)]
    return [each for each in connections if places.take(each, client)]


def test_one_client_may_have_all():
    """As long as nobody else wants them; one more is turned away."""
    places = Places(10)
    assert len(taken(places, "192.0.2.1", 11)) == 10
    assert len(places) == 10


def test_a_newcomer_gets_the_place_of_the_one_with_most():
    """Its oldest connection ends, and nobody else's."""
    places = Places(10)
    others, greedy = taken(places, "192.0.2.2", 3), taken(places, "192.0.2.1", 7)
    assert len(taken(places, "192.0.2.3", 1)) == 1
    assert [each.has_ended for each in greedy] == [True] + [False] * 6
    assert not any(each.has_ended for each in others)
    assert len(places) == 10


def test_shares_even_out():
    """Two clients that both want all places have half of them each in the end."""
    places = Places(10)
    taken(places, "192.0.2.1", 10)
    assert len(taken(places, "192.0.2.2", 20)) == 5
    assert not taken(places, "192.0.2.1", 1)


def test_a_complete_request_is_not_cut_off():
    """Who has only such connections keeps them; of others the first without one ends."""
    places = Places(3)
    busy = taken(places, "192.0.2.1", 2, may_give_way=False)
    (idle,) = taken(places, "192.0.2.1", 1)
    assert taken(places, "192.0.2.2", 1)
    assert (idle.has_ended, [each.has_ended for each in busy]) == (True, [False, False])
    assert not taken(places, "192.0.2.3", 1)


def test_places_come_back():
    """A connection that leaves makes room, once."""
    places = Places(2)
    first, second = taken(places, "192.0.2.1", 2)
    places.leave(first)
    places.leave(first)
    assert len(places) == 1
    assert len(taken(places, "192.0.2.1", 2)) == 1
    assert not second.has_ended


def test_a_site_is_one_client():
    """IPv6 addresses of one network count together; connections without an address, too."""
    places = Places(4)
    first = taken(places, "2001:db8::1", 2) + taken(places, "2001:db8::2", 2)
    assert taken(places, None, 1)
    assert first[0].has_ended
