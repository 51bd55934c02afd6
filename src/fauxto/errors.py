"""What can go wrong: each error has one sentence for the user, an exit code and an HTTP status.

FauxtoError                  1  500
├── UsageError               2  400   the call itself is wrong
│   └── ConfigError          2  400   a configuration key, type or value is wrong
├── MissingExtraError        3  501   an optional part of fauxto is not installed
├── ImageError               4  422   a file is not an image that can be read
│   └── ImageTooLargeError   4  413   an image is larger than we are willing to decode
├── DataError                5  422   a data set, archive or manifest is wrong
├── DetectorError            6  500   a detector folder is missing, damaged or of another version
├── TrainingError            7  500   training cannot go on
├── DiskFullError            8  507   there is no room to write
├── NetworkError             9  502   something outside this machine did not answer
└── ScoreError               2  422   labels and scores do not fit together
"""

from __future__ import annotations


class FauxtoError(Exception):
    """Base of everything that fauxto raises on purpose; its text is one sentence with what to do."""

    exit_code = 1
    http_status = 500


class UsageError(FauxtoError):
    """The call itself is wrong."""

    exit_code = 2
    http_status = 400


class ConfigError(UsageError):
    """A configuration key, type or value is wrong."""


class MissingExtraError(FauxtoError):
    """An optional part of fauxto is not installed."""

    exit_code = 3
    http_status = 501


class ImageError(FauxtoError):
    """A file is not an image that can be read."""

    exit_code = 4
    http_status = 422


class ImageTooLargeError(ImageError):
    """An image is larger than we are willing to decode."""

    http_status = 413


class DataError(FauxtoError):
    """A data set, archive or manifest is wrong."""

    exit_code = 5
    http_status = 422


class DetectorError(FauxtoError):
    """A detector folder is missing, damaged or of another version."""

    exit_code = 6


class TrainingError(FauxtoError):
    """Training cannot go on."""

    exit_code = 7


class DiskFullError(FauxtoError):
    """There is no room to write."""

    exit_code = 8
    http_status = 507


class NetworkError(FauxtoError):
    """Something outside this machine did not answer."""

    exit_code = 9
    http_status = 502


class ScoreError(FauxtoError):
    """Labels and scores do not fit together."""

    exit_code = 2
    http_status = 422


def missing_extra(extra: str, package: str) -> MissingExtraError:
    """Return the error that says which extra brings a package.

    Example:
        >>> str(missing_extra("train", "torch"))
        "this needs the package torch, which is not installed: pip install 'fauxto[train]' (in a checkout: '.[train]')"
    """
    how = f"pip install 'fauxto[{extra}]' (in a checkout: '.[{extra}]')"
    return MissingExtraError(f"this needs the package {package}, which is not installed: {how}")
