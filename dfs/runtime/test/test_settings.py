"""Settings: where a value comes from, what is refused, and units."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.runtime import options
from dfs.runtime.dial import Address
from dfs.runtime.errors import SettingError
from dfs.runtime.options import SHARED, WriteQuorum, parse_write_quorum
from dfs.runtime.settings import Origin, parse_file, render_table, resolve
from dfs.runtime.units import format_duration, format_size, parse_duration, parse_size


class ResolveTests(SynchronousTestCase):
    """resolve"""

    def test_defaults(self) -> None:
        """Every shared setting has a default that its own parser takes."""
        found = resolve(SHARED)
        values = {setting.name: found[setting] for setting in SHARED}
        self.assertEqual(
            values,
            {
                "DFS_META": (),
                "DFS_HEARTBEAT_INTERVAL": 3.0,
                "DFS_SUSPECT_AFTER": 10.0,
                "DFS_DEAD_AFTER": 30.0,
                "DFS_CHUNK_SIZE": 4 * 1024 * 1024,
                "DFS_REPLICATION": 3,
                "DFS_WRITE_QUORUM": WriteQuorum("majority"),
                "DFS_QUARANTINE": 86400.0,
                "DFS_DURABILITY": "sync",
                "DFS_PATIENCE": 30.0,
                "DFS_UPLOAD_TTL": 86400.0,
                "DFS_LEASE": 60.0,
                "DFS_STORE": "auto",
                "DFS_PARALLEL": 4,
                "DFS_READ_FROM": "leader",
                "DFS_REPAIR_STREAMS": 2,
                "DFS_MOVE_RATE": 0,
                "DFS_NODE_MOVE_RATE": 100 << 20,
                "DFS_SETTLE_AFTER": 600.0,
                "DFS_SCRUB_PERIOD": 14 * 86400.0,
                "DFS_SEGMENTS": "on",
                "DFS_LOG_FORMAT": "text",
            },
        )

    def test_precedence(self) -> None:
        """A flag wins over the environment, that over the file, that over the default; the origin is told."""
        places: dict[str, Any] = {
            "flags": {"dead-after": "1"},
            "environment": {"DFS_DEAD_AFTER": "2"},
            "file_text": "dead_after = 3.5",
            "file_name": "dfs.toml",
        }
        seen = []
        for gone in (None, "flags", "environment", "file_text"):
            if gone is not None:
                del places[gone]
            found = resolve(SHARED, **places)
            seen.append((found[options.DEAD_AFTER], found.origin(options.DEAD_AFTER)))
        self.assertEqual(
            seen,
            [
                (1.0, Origin("--dead-after", "1")),
                (2.0, Origin("DFS_DEAD_AFTER", "2")),
                (3.5, Origin("dead_after in dfs.toml", "3.5")),
                (30.0, Origin("DFS_DEAD_AFTER (default)", "30")),
            ],
        )

    def test_absent(self) -> None:
        """A flag of None and an empty variable are absent."""
        found = resolve(SHARED, {"lease": None}, {"DFS_LEASE": ""})
        self.assertEqual(found[options.LEASE], 60.0)

    def test_bad_value(self) -> None:
        """A value that cannot be used is refused, naming where it stands."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"flags": {"chunk_size": "huge"}}, "--chunk-size: 'huge'"),
            ({"environment": {"DFS_REPLICATION": "0"}}, "DFS_REPLICATION: '0' must be a whole number from 1 to 15"),
            ({"environment": {"DFS_DEAD_AFTER": "0"}}, "DFS_DEAD_AFTER: '0' must be more than 0"),
            ({"environment": {"DFS_CHUNK_SIZE": "1GiB"}}, "must be from 64.0 KiB to 64.0 MiB"),
            ({"file_text": 'store = "sqlite"', "file_name": "x.toml"}, "store in x.toml: 'sqlite' must be one of auto"),
            ({"environment": {"DFS_META": "nowhere"}}, "DFS_META: 'nowhere' is not an address"),
        ]
        for places, sentence in cases:
            self.assertIn(sentence, str(self.assertRaises(SettingError, resolve, SHARED, **places)))

    def test_unknown_key(self) -> None:
        """A key that does not exist is refused with the one that was meant."""
        error = self.assertRaises(SettingError, parse_file, SHARED, "chunksize = 1", "dfs.toml")
        self.assertEqual(str(error), "dfs.toml: there is no setting 'chunksize'; did you mean chunk_size?")
        error = self.assertRaises(SettingError, parse_file, SHARED, "xyzzy = 1", "dfs.toml")
        self.assertIn("doc/configuration.md", str(error))

    def test_file(self) -> None:
        """Strings, numbers and lists of strings are taken, anything else and broken TOML is refused."""
        text = 'meta = ["a:1", "b:2"]\nreplication = 2\nlease = 1.5\nstore = "semidbm"'
        found = resolve(SHARED, file_text=text, file_name="dfs.toml")
        self.assertEqual(found[options.META], (Address("a", 1), Address("b", 2)))
        self.assertEqual((found[options.REPLICATION], found[options.LEASE]), (2, 1.5))
        for bad in (
            "replication = true",
            "[replication]\nx = 1",
            "replication = 2020-01-01",
            "replication = [1]",
            "= 1",
        ):
            self.assertRaises(SettingError, parse_file, SHARED, bad, "dfs.toml")

    def test_table(self) -> None:
        """The documentation's table has a line for each setting with name, flag, key, default and meaning."""
        lines = render_table(SHARED).splitlines()
        self.assertEqual(len(lines), len(SHARED) + 2)
        self.assertIn(
            "| `DFS_DEAD_AFTER` | `--dead-after` | `dead_after` | `30` (seconds) | Silence after", "\n".join(lines)
        )
        self.assertTrue(all(line.count("|") == 6 for line in lines))


class WriteQuorumTests(SynchronousTestCase):
    """WriteQuorum"""

    def test_of(self) -> None:
        """A majority is more than half, all is all, a number is itself up to the replication (S05)."""
        for text, expected in (
            ("majority", [1, 2, 2, 3, 3]),
            ("all", [1, 2, 3, 4, 5]),
            ("2", [1, 2, 2, 2, 2]),
        ):
            quorum = parse_write_quorum(text)
            self.assertEqual([quorum.of(replication) for replication in range(1, 6)], expected)
            self.assertEqual(str(quorum), text)

    def test_bad(self) -> None:
        """No quorum is none, negative or a half."""
        for text in ("0", "-1", "1.5", "most", "", "256"):
            self.assertRaises(SettingError, parse_write_quorum, text)


class UnitsTests(SynchronousTestCase):
    """Sizes and durations"""

    def test_sizes(self) -> None:
        """Binary and decimal units, fractions and bare bytes are understood."""
        for text, size in (
            ("4MiB", 4 << 20), ("4m", 4 << 20), ("64 KiB", 65536), ("1.5GiB", 3 << 29), ("5MB", 5_000_000),
            ("0", 0), ("123", 123), ("7B", 7), ("2TiB", 2 << 40),
        ):  # fmt: skip
            self.assertEqual(parse_size(text), size, text)
        for text in ("", "x", "-1", "1.5", "4XiB", "1e3", "4MiB4", "\u0664MiB", "0.3KiB"):
            self.assertRaises(SettingError, parse_size, text)

    def test_durations(self) -> None:
        """Seconds, and units from milliseconds to weeks, are understood."""
        for text, seconds in (
            ("30", 30.0), ("10m", 600.0), ("1.5h", 5400.0), ("250ms", 0.25), ("2d", 172800.0), ("1w", 604800.0),
            ("0", 0.0),
        ):  # fmt: skip
            self.assertEqual(parse_duration(text), seconds, text)
        for text in ("", "x", "-1", "1y", "1h30m", "inf", "nan"):
            self.assertRaises(SettingError, parse_duration, text)

    def test_format_size(self) -> None:
        """Sizes are told in the unit that keeps them short."""
        for size, text in (
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (4 << 20, "4.0 MiB"), ((1 << 30) - 1, "1.0 GiB"),
            (1 << 70, "1024.0 EiB"),
        ):  # fmt: skip
            self.assertEqual(format_size(size), text)

    def test_format_duration(self) -> None:
        """Durations are told in at most two units."""
        for seconds, text in (
            (0, "0 ms"), (0.25, "250 ms"), (1.25, "1.2 s"), (9.96, "10 s"), (42, "42 s"), (59.7, "1 min"),
            (90, "1 min 30 s"), (3725, "1 h 2 min"), (7200, "2 h"), (90000, "1 d 1 h"),
        ):  # fmt: skip
            self.assertEqual(format_duration(seconds), text)
