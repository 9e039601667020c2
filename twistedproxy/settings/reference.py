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

A key can be set in several places. Of these the later one wins, key by key; a list is replaced as a whole,
never added to:

1. the default;
2. the settings file, such as `/etc/twistedproxy/pyproxy.toml`;
3. its drop-ins: every file `*.toml` in the directory `pyproxy.d` beside it (for `--config X/foo.toml`:
   `X/foo.d`), in the order of their names. Names that begin with a dot do not count. Drop-ins also count
   where there is no settings file;
4. the environment: `PYPROXY_UPSTREAM_CONNECT_TIMEOUT=5s` sets `upstream.connect_timeout`. A variable that
   begins with `PYPROXY_` and is no key's comes with a warning, and is ignored;
5. the command line: `--set upstream.connect_timeout=5s`, and `--listen` for `downstream.listen`. It may be
   given several times; the last one for a key wins.

In a variable and after `--set` the value is TOML; what is not TOML is taken as text, so that `5s` needs no
quotes. A single value for a key that takes a list is a list of one: `PYPROXY_ACCESS_CLIENTS=private`, or
`PYPROXY_ACCESS_CLIENTS='["loopback", "10.0.0.0/8"]'`.

- `--check` reads the settings, says what they mean and what is unwise about them, and ends.
- `--print-settings` prints the effective settings as a TOML file, each key with its meaning and where it
  comes from.
- SIGHUP reads all the files again, with drop-ins that are new and without those that are gone. Where
  anything is wrong in one of them, nothing changes.

A key that does not exist, a value of the wrong type and a value outside its limits are errors, never
ignored. All of them are reported together, each with its file and line or its variable, with the key and,
for a misspelt name, the nearest one:

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
