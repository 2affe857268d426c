"""Write docs/reference/settings.md from the configuration classes. A test checks that it is up to date."""

from pathlib import Path

from model_core.config import RunConfig

HEAD = """# Settings

Set with `--set section.key=value`; lists are JSON (`--set 'evaluate.ks=[5,10]'`). This page is written by
`python docs/reference/make_settings.py`.
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
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(settings_page())
