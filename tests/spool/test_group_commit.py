"""One commit for all who want one at the same time."""

import threading

import pytest

from otel_rum_exporter.spool.group_commit import GroupCommit


class Gate:
    """A commit that waits until it is let through, and notes its groups."""

    def __init__(self, outcome):
        self.groups = []
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self._outcome = outcome

    def __call__(self, group):
        self.groups.append(list(group))
        self.entered.release()
        assert self.go_on.acquire(timeout=60)
        return self._outcome(group)


def submitted(commits, given, results):
    def work():
        try:
            results[given] = commits.submit(given)
        except Exception as error:  # noqa: BLE001 - what a test looks at
            results[given] = error

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def waiting(commits, number):
    """Wait until so many wait for the commit that is under way."""
    while True:
        with commits._changed:
            if len(commits._waiting) == number:
                return


def run(outcome):
    """One commit under way, three more that come meanwhile."""
    gate, results = Gate(outcome), {}
    commits = GroupCommit(gate)
    threads = [submitted(commits, 0, results)]
    assert gate.entered.acquire(timeout=60)
    for number in (1, 2, 3):
        threads.append(submitted(commits, number, results))
        waiting(commits, number)
    gate.go_on.release(2)
    for thread in threads:
        thread.join(60)
    return gate.groups, results


def test_those_who_come_meanwhile_share_the_next_commit():
    groups, results = run(lambda group: [number * 10 for number in group])
    assert groups == [[0], [1, 2, 3]]
    assert results == {0: 0, 1: 10, 2: 20, 3: 30}


def test_each_gets_its_own_refusal():
    """Others of the group are committed all the same."""
    _, results = run(lambda group: [ValueError(number) if number == 2 else number for number in group])
    assert [results[number] for number in (0, 1, 3)] == [0, 1, 3]
    assert results[2].args == (2,)


def test_a_failure_reaches_the_whole_group_and_the_next_one_goes_on():
    def fail_once(group):
        if 0 in group:
            raise KeyError("disk")
        return group

    groups, results = run(fail_once)
    assert isinstance(results[0], KeyError)
    assert groups[1:] == [[1, 2, 3]]
    assert [results[number] for number in (1, 2, 3)] == [1, 2, 3]


def test_a_leader_that_is_interrupted_does_not_leave_others_waiting():
    """Ctrl-C in the thread that commits for others."""

    def interrupt(group):
        if 1 in group:
            raise KeyError("interrupted")
        return group

    _, results = run(interrupt)
    errors = [results[number] for number in (1, 2, 3)]
    assert sorted(type(error).__name__ for error in errors) == ["KeyError", "RuntimeError", "RuntimeError"]


def test_a_lone_caller_commits_at_once():
    assert GroupCommit(lambda group: group).submit(5) == 5
    with pytest.raises(KeyError):
        GroupCommit(lambda _: [KeyError()]).submit(5)
