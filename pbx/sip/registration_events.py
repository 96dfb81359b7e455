"""What a registration (`pbx.sip.registration`) is told at the beginning, and what it tells its user."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are at a registrar."""

    registrar: str
    """Request-URI of the REGISTER; the ``uri`` of the digest, too."""
    aor: str
    """URI of To and From."""
    contact_user: str
    """User part of our Contact: a token nobody can guess."""
    auth_user: str
    password: str
    expires: int = 3600
    """Seconds that we ask for."""
    contact_parameters: str = ""
    """After our Contact's ``>``, with its semicolon: ``;reg-id=1``."""
    routes: str = ""
    """Ready Route lines, for a proxy between us and the registrar."""
    extra: str = ""
    """Other ready lines."""
    new_call_id_per_register: bool = False
    """For registrars that answer a second CSeq with "Invalid CSeq"."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Waits between tries, in seconds: doubled from ``first`` to ``most``, each cut by up to a half at random (RFC 5626 §4.5)."""

    first: float = 30.0
    most: float = 600.0


@dataclass(frozen=True, slots=True)
class FlowWanted:
    """Find a way to the registrar, anew each time, and call `Registration.use` or `Registration.no_flow`."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The registrar has accepted us."""

    expires_at: float
    first: bool
    """False for a refresh."""


@dataclass(frozen=True, slots=True)
class RegistrationFailed:
    """A try has failed."""

    status: int
    """0: no response at all."""
    reason: str
    next_try_at: float
    still_registered: bool
    """True while an earlier registration is in force."""


@dataclass(frozen=True, slots=True)
class Unregistered:
    """It is over, as was wanted."""
