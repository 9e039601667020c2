"""``docs/settings.md``, made from the types."""

from __future__ import annotations

from collections.abc import Iterator

from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.keys import Key, about, tables
from twistedproxy.settings.kinds import expectation
from twistedproxy.settings.types import Settings

_HEAD = """\
<!-- Made by scripts/docs from types.py and operation.py in twistedproxy/settings; change it there. -->

# Settings

The settings are one [TOML](https://toml.io) file, with a table for each part of the proxy. `twistd pyproxy
--config FILE` names the file. Every key has a default, and without a file the proxy runs with the defaults.

- `--set table.key=value` on the command line changes one key, and wins over the file: `--set
  downstream.max_fields=64`. The value is TOML; what is not TOML is taken as text, so that `--set
  upstream.connect_timeout=3s` needs no quotes. A single value for a key that takes a list is a list of one.
  It may be given several times; the last one for a key wins.
- `--check` reads the settings, says what they mean and what is unwise about them, and ends.
- `--print-settings` prints the effective settings as a TOML file, each key with its meaning and where it
  comes from.
- SIGHUP reads the file again. A file that has any error changes nothing.

A key that does not exist, a value of the wrong type and a value outside its limits are errors, never
ignored. All of them are reported together, each with file, line, key and, for a misspelt name, the nearest
one:

```
pyproxy.toml:12: upstream.conect_timeout: unknown key (did you mean "connect_timeout"?)
```

A **duration** is a number of seconds, or text with a unit: `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"7d"`.
A **size** is a number of bytes, or text with a unit: `"64KiB"`, `"1MiB"` (powers of 1024), `"500kB"`
(powers of 1000). The words in brackets, such as `(head_too_large)`, are the reasons that stand in the
access log.
"""


def reference_markdown() -> str:
    """The reference of all settings, for ``docs/settings.md``."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for table in tables():
        yield f"- [`[{table}]`](#{table}): {_begun_small(about(table))}"
    for table, keys in tables().items():
        yield from ("", f"## {table}", "", about(table))
        for key in keys:
            yield from ("", *_entry(key))
    yield from (
        "",
        "## The defaults as a file",
        "",
        "What `--print-settings` prints when nothing is set:",
        "",
    )
    yield from ("```toml", annotated_toml(Settings()).rstrip("\n"), "```")


def _entry(key: Key) -> Iterator[str]:
    yield f"### {key.path}"
    yield ""
    yield f"{key.meta.description}"
    yield ""
    yield f"- Value: {expectation(key.meta)}"
    yield f"- Default: `{key.kind.spell(key.default)}`"
    for example in key.meta.examples or ():
        yield f"- Example: `{key.name} = {key.kind.spell(key.kind.read(example))}`"


def _begun_small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
