#!/usr/bin/env python3
"""The history checker's own tests: what it must find, and what it must let pass."""
import unittest

import history


def op(kind, version, begin, end, node="a", code="OK", origin="source", key="k"):
    return history.Op(kind, key, node, begin, end, code, version, origin if kind == "get" else None, "STORE")


def bump(version, begin, end, **more):
    return op("set", version, begin, end, **more)


class Checker(unittest.TestCase):
    def violations(self, *ops, **options):
        return [finding.get for finding in history.check(ops, **options).violations]

    def test_a_clean_history_has_no_violations(self):
        self.assertEqual([], self.violations(op("get", 1, 0, 1), bump(2, 1, 2), op("get", 2, 3, 4)))

    def test_an_old_value_after_an_acknowledged_set_is_found(self):
        stale = op("get", 1, 2.5, 3, node="b")
        self.assertEqual([stale], self.violations(bump(2, 1, 2), stale, op("get", 2, 2.5, 3)))

    def test_an_old_value_after_an_acknowledged_delete_is_found(self):
        stale = op("get", 1, 2.5, 3)
        self.assertEqual([stale], self.violations(op("delete", 2, 1, 2), stale))

    def test_a_get_that_began_before_the_acknowledgement_may_have_either(self):
        self.assertEqual([], self.violations(bump(2, 1, 3), op("get", 1, 2, 4), op("get", 2, 2, 4)))

    def test_one_old_value_among_many_reads_is_found(self):
        ops = [bump(n, n, n + 0.5) for n in range(2, 200)]
        ops += [op("get", n, n + 0.6, n + 0.9) for n in range(2, 200)]
        stale = op("get", 99, 100.7, 100.8)
        self.assertEqual([stale], self.violations(*ops, stale))

    def test_a_failed_write_binds_nobody(self):
        self.assertEqual([], self.violations(bump(2, 1, 2, code="UNAVAILABLE"), op("get", 1, 3, 4), op("get", 2, 5, 6)))

    def test_an_old_copy_of_a_failed_write_counts_as_late_only_as_the_sets_own_value(self):
        ops = [bump(2, 1, 2, code="UNAVAILABLE"), bump(3, 3, 4), op("get", 2, 5, 6, origin="set")]
        result = history.check(ops)
        self.assertEqual((0, 1), (len(result.violations), len(result.late)))
        stale = op("get", 2, 5, 6)
        self.assertEqual([stale], self.violations(*ops[:2], stale))

    def test_an_old_value_of_an_acknowledged_set_is_never_late(self):
        stale = op("get", 2, 5, 6, origin="set")
        self.assertEqual([stale], self.violations(bump(2, 1, 2), bump(3, 3, 4), stale))

    def test_a_value_that_nobody_wrote_is_found(self):
        wrong = op("get", 7, 3, 4)
        self.assertEqual([wrong], self.violations(bump(2, 1, 2), wrong))
        foreign = op("get", None, 3, 4, origin="other")
        self.assertEqual([foreign], self.violations(foreign))

    def test_a_version_is_there_when_the_source_has_it_before_the_cache_is_written(self):
        late = bump(2, 4, 5)
        early, seen = late._replace(since=2), op("get", 2, 1, 3)
        self.assertEqual([], self.violations(early, seen))
        self.assertEqual([seen], self.violations(late, seen))

    def test_errors_are_not_values(self):
        self.assertEqual([], self.violations(bump(2, 1, 2), op("get", None, 3, 4, code="UNAVAILABLE")))

    def test_keys_do_not_bind_one_another(self):
        self.assertEqual([], self.violations(bump(2, 1, 2, key="x"), op("get", 1, 3, 4, key="y")))

    def test_in_a_partition_each_side_is_bound_by_its_own_writes(self):
        window = [history.Window(0, 10, frozenset("c"))]
        other = op("get", 1, 3, 4, node="c")
        self.assertEqual([], self.violations(bump(2, 1, 2, node="a"), other, windows=window, settle=5))
        same = op("get", 1, 3, 4, node="b")
        self.assertEqual([same], self.violations(bump(2, 1, 2, node="a"), same, windows=window, settle=5))
        own = op("get", 2, 5, 6, node="c")
        self.assertEqual([own], self.violations(bump(3, 1, 2, node="c"), own, windows=window, settle=5))

    def test_after_the_heal_all_sides_are_bound(self):
        window = [history.Window(0, 10, frozenset("c"))]
        settling, stale = op("get", 1, 14, 15, node="c"), op("get", 1, 16, 17, node="c")
        self.assertEqual([stale], self.violations(bump(2, 1, 2), settling, stale, windows=window, settle=5))

    def test_a_write_from_before_the_partition_binds_both_sides(self):
        window = [history.Window(3, 10, frozenset("c"))]
        stale = op("get", 1, 5, 6, node="c")
        self.assertEqual([stale], self.violations(bump(2, 1, 2), stale, windows=window))

    def test_values_are_read(self):
        self.assertEqual((4, "source"), history.parse_value("key", "key:4"))
        self.assertEqual((4, "set"), history.parse_value("key", "key:4:set"))
        self.assertEqual((None, "other"), history.parse_value("key", "yek:4"))
        self.assertEqual((None, "other"), history.parse_value("key", "key:"))

    def test_a_report_shows_the_operations_around_a_violation(self):
        ops = [bump(2, 1, 2, node="writer"), op("get", 1, 3, 4, node="reader")]
        text = history.report(history.check(ops), ops)
        self.assertIn("1 violations", text)
        self.assertIn("key k: version 1 after 2 was acknowledged", text)
        self.assertRegex(text, r"= +0\.000\.\. +1\.000  set +2  OK at writer")
        self.assertRegex(text, r"> +2\.000\.\. +3\.000  get +1 \(source, STORE\)  OK at reader")


if __name__ == "__main__":
    unittest.main()
