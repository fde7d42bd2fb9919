"""Every error that a user can meet, in one tree.

    PublisherError                      exit
    ├── SettingsError                    3    the settings are wrong; every fault is told at once
    ├── ModelRegistryError               4    MLflow cannot be reached, or says no           (retryable)
    │   └── UnknownVersionError          5    no such model version
    ├── ArtifactError                    6    the version's files cannot be used as they are
    │   └── TransferError                7    a file arrived cut short or corrupt            (retryable)
    ├── RequirementsError                8    requirements that cannot be read, or disagree
    │   └── ResolutionError              9    uv finds no set of wheels for a platform
    ├── IndexUnavailableError           10    the package index cannot be reached            (retryable)
    ├── BuildError                      11    an image cannot be made of this
    ├── TemplateError                   19    a template cannot be rendered, or not safely
    ├── CheckError                      24    an image was made, and a check says that it does not work
    ├── RegistryError                   12    the container registry says no                 (retryable)
    │   ├── AuthenticationError         13    ... to our credentials                         (retryable)
    │   ├── TagConflictError            14    the tag holds another digest
    │   └── RegistryUnavailableError    15    it cannot be reached, or fails                 (retryable)
    ├── EngineError                     16    a tool that this work needs is missing         (retryable)
    ├── HostError                       17    disk full, no permission                       (retryable)
    ├── DeadlineError                   18    a publication took longer than its deadline    (retryable)
    ├── RegistrationError               22    a model cannot be registered as it was asked for
    ├── PublicationError                23    a publication that was waited for has failed
    └── StoppedError                   143    the publisher was asked to end (SIGTERM)       (retryable)

`retryable` tells whether the same version may be published later without being changed: the fault lies with a
service or with the site, and the status of the version says when the next try is due. Where the version
itself is at fault it is not tried again until it or the target's settings change. Exit code 1 is a bug in publisher, 2 a wrong command line, 20 that some versions of a poll failed.
"""

from __future__ import annotations

from publisher.redaction import redacted

SOME_FAILED = 20


class PublisherError(Exception):
    """Base of all. `str()` is one line for a user; `hint` says what to do next."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.detail = detail  # several lines, e.g. what a tool said; shown below the message

    @property
    def line(self) -> str:
        """Message and hint on one line, as it goes into a status tag."""
        text = f"{self}. {self.hint}" if self.hint else str(self)
        return " ".join(text.split())

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback (IPython, "Custom exceptions")."""
        return redacted(f"{type(self).__name__}: {self.line}\n{self.detail}").splitlines()


class SettingsError(PublisherError):
    """One or more settings are wrong."""

    exit_code = 3

    def __init__(self, faults: list[str], *, hint: str = "") -> None:
        super().__init__("; ".join(faults), hint=hint)
        self.faults = faults


class ModelRegistryError(PublisherError):
    """`away`: no server answers, so nothing can be looked at or recorded until it does."""

    exit_code = 4
    retryable = True
    away = False


class UnknownVersionError(ModelRegistryError):
    exit_code = 5
    retryable = False


class ArtifactError(PublisherError):
    exit_code = 6


class TransferError(ArtifactError):
    exit_code = 7
    retryable = True


class RequirementsError(PublisherError):
    exit_code = 8


class ResolutionError(RequirementsError):
    exit_code = 9


class IndexUnavailableError(PublisherError):
    exit_code = 10
    retryable = True


class BuildError(PublisherError):
    exit_code = 11


class TemplateError(PublisherError):
    exit_code = 19


class CheckError(PublisherError):
    """An image that is there does not work."""

    exit_code = 24


class RegistryError(PublisherError):
    """`status` is the HTTP status where there was one."""

    exit_code = 12
    retryable = True

    def __init__(self, message: str, *, hint: str = "", detail: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.status = status


class AuthenticationError(RegistryError):
    exit_code = 13


class TagConflictError(RegistryError):
    exit_code = 14
    retryable = False


class RegistryUnavailableError(RegistryError):
    exit_code = 15


class EngineError(PublisherError):
    exit_code = 16
    retryable = True


class HostError(PublisherError):
    exit_code = 17
    retryable = True


class DeadlineError(PublisherError):
    exit_code = 18
    retryable = True


class RegistrationError(PublisherError):
    """Nothing was registered. `faults` has each thing that stands against it."""

    exit_code = 22

    def __init__(self, *faults: str, hint: str = "", detail: str = "") -> None:
        super().__init__("; ".join(faults), hint=hint, detail=detail)
        self.faults = list(faults)


class PublicationError(PublisherError):
    exit_code = 23


class StoppedError(PublisherError):
    exit_code = 143
    retryable = True
