"""The package's own page templates, filled in; every text that comes from data is escaped."""

from __future__ import annotations

from typing import Any

from fauxto.errors import missing_extra


def rendered(template: str, **context: Any) -> str:
    """Return a page.

    Args:
        template: A file's name in the package's templates folder.
        context: What the template names; one that is missing is an error.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise missing_extra("train", "jinja2") from error
    own = jinja2.PackageLoader("fauxto", "templates")
    jinja = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=own
    )
    return jinja.get_template(template).render(**context)
