"""Write docs/reference/settings.md from the configuration classes. A test checks that it is up to date."""

from pathlib import Path

from model_core.config import RunConfig

HEAD = """# Settings

Set with `--set section.key=value`; lists are JSON (`--set 'evaluate.ks=[5,10]'`). This page is written by
`python docs/reference/make_settings.py`.
"""

TAIL = """## Environment

What depends on a machine and not on a model is read from the environment, by every step for itself.

| variable | default | meaning |
|---|---|---|
| `RELREC_CACHE_DIR` | `~/.cache/relrec` | Where fetched files are kept and runs with a remote root work. |
| `RELREC_CACHE_GB` | `50` | Most that fetched files may take, in 10^9 bytes. |
| `RELREC_STORAGE_DEADLINE_S` | `300` | Longest time that one request to an object store is tried again. |
| `RELREC_STORAGE_TIMEOUT_S` | `60` | Longest silence of an object store within one try. |
| `RELREC_STORAGE_CHUNK_MIB` | `16` | Part of a large file that is moved by one request. |
| `RELREC_STORAGE_PARALLEL` | `8` | Files moved at the same time. |

Credentials and endpoints are those of the clients ([reliability](../reliability.md#credentials)).
"""


def settings_page() -> str:
    """The page as Markdown."""
    lines = [HEAD]
    for name, section in RunConfig.model_fields.items():
        cls = section.annotation
        assert cls is not None
        lines += [f"## {name}", "", (cls.__doc__ or "").strip(), "", "| key | default | meaning |",
                  "|---|---|---|"]
        for key, field in cls.model_fields.items():
            default = "unset" if field.default is None else f"`{field.default}`"
            lines.append(f"| `{key}` | {default} | {field.description or ''} |")
        lines.append("")
    return "\n".join([*lines, TAIL])


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(settings_page())
