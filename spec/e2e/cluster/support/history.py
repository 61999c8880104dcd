#!/usr/bin/env python3
"""Checks a history of Gets, Sets and Deletes against what lcache promises about old values.

A writer raises a key's version at the source first, to n, and then calls Set(key, value of n) or Delete. When that call
is acknowledged, every Get of the key that begins later, at any node, must give version n or a later one. A write that
ended with an error may or may not have happened, and may still happen: it binds nobody, and its value may turn up.

A value is `KEY:VERSION` from the source, `KEY:VERSION:set` from a Set, so that an old value that a failed Set may have
put there late (`late` in the result) can be told from a copy that should be gone (`violations`). A value of another
key, or of a version that nobody had made yet, is a violation too.

While the network is partitioned the promise holds on each side alone, and `settle` seconds after the heal everywhere.

  history.py FILE [--window BEGIN:END:NODE,NODE,…]…   reads JSON lines, prints the violations, exits 1 if there are any
"""
import argparse
import bisect
import collections
import json
import sys

FIELDS = ("kind", "key", "node", "begin", "end", "code", "version", "origin", "served", "since")
Op = collections.namedtuple("Op", FIELDS, defaults=(None,))
Op.__doc__ = """One call. kind: get, set or delete; begin, end: seconds on one clock; code: the gRPC status's name;
version: that a write made or a Get gave (None: none); origin: `source`, `set` or `other` for a Get's value; since: from
when on the source may have had a write's version (None: from its begin)."""

Window = collections.namedtuple("Window", "begin end side")
Window.__doc__ = """A partition: the nodes of `side` could not talk to the others between begin and end."""

Finding = collections.namedtuple("Finding", "get bound why")
Result = collections.namedtuple("Result", "violations late gets writes acknowledged")


def parse_value(key, text):
    """(version, origin) of a value; origin `other` when it is none of this key's."""
    name, _, rest = text.partition(":")
    version, _, origin = rest.partition(":")
    if name != key or not version.isdigit():
        return None, "other"
    return int(version), origin or "source"


class Bound:
    """The acknowledged writes of one key that bind a Get, as fast as a search."""

    def __init__(self, writes):
        writes = sorted(writes, key=lambda op: op.end)
        self.ends = [op.end for op in writes]
        self.highest, best = [], None
        for op in writes:
            best = op if best is None or op.version > best.version else best
            self.highest.append(best)

    def before(self, time):
        index = bisect.bisect_left(self.ends, time)
        return self.highest[index - 1] if index else None


def apart(write, get, window, settle):
    """The two were on different sides, and the Get began before the sides had to agree again."""
    if write.end <= window.begin or write.begin >= window.end + settle or get.begin >= window.end + settle:
        return False
    return (write.node in window.side) != (get.node in window.side)


class Key:
    def __init__(self, ops, windows, settle):
        self.ops = sorted(ops, key=lambda op: op.begin)
        self.windows, self.settle = windows, settle
        self.writes = [op for op in self.ops if op.kind != "get"]
        self.acknowledged = [op for op in self.writes if op.code == "OK"]
        self.all_bound = Bound(self.acknowledged)
        self.failed_sets = {op.version: op for op in self.writes if op.kind == "set" and op.code != "OK"}

    def bound(self, get):
        bound = self.all_bound.before(get.begin)
        if bound is None or not any(apart(bound, get, window, self.settle) for window in self.windows):
            return bound
        binding = [op for op in self.acknowledged
                   if op.end < get.begin and not any(apart(op, get, w, self.settle) for w in self.windows)]
        return max(binding, key=lambda op: op.version, default=None)

    def from_nowhere(self, get):
        made = (op.version for op in self.writes if (op.begin if op.since is None else op.since) < get.end)
        return get.version > max(made, default=1)

    def findings(self):
        """(finding, is it late) for each Get that is wrong."""
        for get in self.ops:
            if get.kind != "get" or get.code != "OK":
                continue
            if get.version is None or self.from_nowhere(get):
                yield Finding(get, None, "a value that nobody wrote"), False
                continue
            bound = self.bound(get)
            if bound is not None and get.version < bound.version:
                failed = self.failed_sets.get(get.version)
                late = get.origin == "set" and failed is not None and failed.begin < get.end
                yield Finding(get, bound, "version %d after %d was acknowledged" % (get.version, bound.version)), late


def check(ops, windows=(), settle=10.0):
    by_key = collections.defaultdict(list)
    for op in ops:
        by_key[op.key].append(op)
    violations, late, gets, writes, acknowledged = [], [], 0, 0, 0
    for key_ops in by_key.values():
        key = Key(key_ops, windows, settle)
        gets += sum(op.kind == "get" and op.code == "OK" for op in key_ops)
        writes += len(key.writes)
        acknowledged += len(key.acknowledged)
        for finding, is_late in key.findings():
            (late if is_late else violations).append(finding)
    violations.sort(key=lambda finding: finding.get.begin)
    return Result(violations, late, gets, writes, acknowledged)


def describe(op, zero, mark=" "):
    what = "" if op.version is None else " %d" % op.version
    if op.kind == "get":
        what += " (%s, %s)" % (op.origin, op.served)
    times = "%9.3f..%9.3f" % (op.begin - zero, op.end - zero)
    return "  %s %s  %-6s%s  %s at %s" % (mark, times, op.kind, what, op.code, op.node)


def report(result, ops, most=5, before=8, after=3):
    """The first violations, each with the operations on its key around it."""
    ops = sorted(ops, key=lambda op: op.begin)
    zero = ops[0].begin if ops else 0.0
    lines = ["%d violations, %d late, in %d Gets and %d writes (%d acknowledged)" % (
        len(result.violations), len(result.late), result.gets, result.writes, result.acknowledged)]
    for finding in result.violations[:most]:
        same = [op for op in ops if op.key == finding.get.key]
        at = same.index(finding.get)
        near = set(range(max(0, at - before), min(len(same), at + after + 1)))
        if finding.bound is not None:
            near.add(same.index(finding.bound))
        lines.append("key %s: %s" % (finding.get.key, finding.why))
        for index in sorted(near):
            mark = ">" if index == at else "=" if same[index] is finding.bound else " "
            lines.append(describe(same[index], zero, mark))
    return "\n".join(lines)


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [Op(*json.loads(line)) for line in lines]


def write(path, ops):
    with open(path, "w", encoding="utf-8") as out:
        for op in ops:
            out.write(json.dumps(list(op)) + "\n")


def parse_window(text):
    begin, end, nodes = text.split(":", 2)
    return Window(float(begin), float(end), frozenset(nodes.split(",")))


def main():
    parser = argparse.ArgumentParser(description="checks a recorded history")
    parser.add_argument("file")
    parser.add_argument("--window", action="append", type=parse_window, default=[])
    parser.add_argument("--settle", type=float, default=10.0)
    arguments = parser.parse_args()
    ops = read(arguments.file)
    result = check(ops, arguments.window, arguments.settle)
    print(report(result, ops))
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
