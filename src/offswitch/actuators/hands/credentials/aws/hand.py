"""AWS: a role or a user may do nothing any more, from the moment on that IAM takes the word.

    trip     a role: one inline policy that denies everything (`aws_policy`)
             a user: the same, and every access key of theirs inactive
    look     the policy is read back, by the credential for looking; no key is active; where the
             agent's own credential is given, a call of its own is refused
    release  the denial of everything goes, the one of older sessions stays; keys stay inactive

Proven by a canary: a policy that denies nothing is written on the real role and taken away, every
`canary_every`; in between, STS is asked who we are by the same credential, every `prove`. Whoever
would stop itself is refused: it could not undo it.

What is said of a stop is what IAM says. It takes IAM seconds, in bad moments minutes, to tell every
service in every region; only the agent's own call, refused, shows that it was told. Asking STS who
one is shows nothing of a role: AWS answers that to whoever is denied everything.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.credentials.aws.policy import (
    AFTER,
    CANARY,
    after_reset,
    at_stop,
    canary,
    denied_before,
    denies_all,
)
from offswitch.actuators.hands.credentials.aws.query import Api, Refusal, Reply
from offswitch.actuators.hands.credentials.aws.sigv4 import Scope, keys_of
from offswitch.actuators.hands.credentials.aws.trial import Trial
from offswitch.clock import SystemClock
from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection, Duration
from offswitch.config.url import Url
from offswitch.printable import printable

__all__ = ["Aws", "AwsSection"]

_IAM = "https://iam.amazonaws.com"
_IAM_REGION = "us-east-1"
_MARGIN_S = 5
"""Sessions issued so soon after a reset are refused as well: clocks differ."""
_NO_KEY = "AKIAOFFSWITCHPROOF00"
_FAR_S = 240
"""AWS refuses a request whose time is five minutes off."""

EntityName = Annotated[str, Field(pattern=r"^[\w+=,.@-]{1,64}$")]


class AwsSection(ActuatorSection):
    """A role or a user of AWS's IAM."""

    kind: Literal["aws"]
    role: EntityName | None = None
    """The role as which the target works."""
    user: EntityName | None = None
    """The user whose keys the target has."""
    secret_file: Secret
    """The credential that stops, as in ~/.aws/credentials; not the target's."""
    look_secret_file: Secret | None = None
    """A credential that may only read, for looking."""
    token_file: Secret | None = None
    """The target's own credential: whether it is refused is tried."""
    probe: Url | None = None
    """What the target may fetch by it, such as a bucket's list; a role cannot do without."""
    probe_service: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = "s3"
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = _IAM_REGION
    """Where STS and the probe are."""
    endpoint: Url = _IAM
    sts_endpoint: Url | None = None
    """Unless given: STS of the region; or `endpoint`, where that is given."""
    ca_file: str | None = None
    canary_every: Duration = 300_000_000
    """How often a policy that denies nothing is written and taken away."""
    deadline: Duration = 3_000_000

    LAYER = "credentials"
    SECRETS = frozenset({"secret_file", "look_secret_file", "token_file"})
    FILES = frozenset({"ca_file"})

    @model_validator(mode="after")
    def _one_of_them(self) -> AwsSection:
        if (self.role is None) == (self.user is None):
            raise ValueError("either role or user")
        if self.role is not None and (self.token_file is None) != (self.probe is None):
            raise ValueError("token_file and probe of a role: both, or none of them")
        if self.probe is not None and self.token_file is None:
            raise ValueError("a probe needs token_file, by which it is fetched")
        return self

    def given(self, key: str, *, looks: bool) -> bool:
        """Give the target's own credential to the look alone."""
        return super().given(key, looks=looks) and (looks or key != "token_file")

    def sts(self) -> str:
        """Tell where STS is asked."""
        if self.sts_endpoint is not None:
            return self.sts_endpoint
        if self.endpoint != _IAM:
            return self.endpoint
        return f"https://sts.{self.region}.amazonaws.com"


class Aws(Hand):
    """Denies a role or a user of AWS everything."""

    Settings = AwsSection
    settings: AwsSection

    def __init__(self, settings: AwsSection, context: Context) -> None:
        """Make it; nothing is sent yet."""
        super().__init__(settings, context)
        self._clock = SystemClock()
        secrets = context.secrets
        looks = context.role is Role.LOOK
        self._apart = looks and "look_secret_file" in secrets
        place = "look_secret_file" if self._apart else "secret_file"
        keys = keys_of(secrets.get(place, ""), place)
        iam, sts = Scope(_IAM_REGION, "iam"), Scope(settings.region, "sts")
        self._iam = Api(settings.endpoint, iam, keys, self._clock, settings.ca_file)
        self._sts = Api(settings.sts(), sts, keys, self._clock, settings.ca_file)
        self._trial: Trial | None = None
        if looks and "token_file" in secrets:
            own = keys_of(secrets["token_file"], "token_file")
            asked = Api(settings.sts(), sts, own, self._clock, settings.ca_file)
            page = Scope(settings.region, settings.probe_service)
            self._trial = Trial(asked, settings.probe, page, settings.ca_file)
        self._written_us: int | None = None
        """When the canary was last written (CLOCK_MONOTONIC)."""

    def open(self) -> None:
        """Connect to IAM, and to STS."""
        self._iam.line.open()
        self._sts.line.open()

    # --- what is asked of IAM --------------------------------------------------------

    def _ask(self, action: str, **said: str) -> Reply:
        """Ask IAM something about whom it is that is stopped: `*` stands for Role or User."""
        role, user = self.settings.role, self.settings.user
        whom = {"RoleName": role} if role else {"UserName": str(user)}
        return self._iam.call(action.replace("*", "Role" if role else "User"), **whom, **said)

    @property
    def _whom(self) -> str:
        role = self.settings.role
        return f"the role {role}" if role else f"the user {self.settings.user}"

    def _put(self, name: str, document: str) -> None:
        self._ask("Put*Policy", PolicyName=name, PolicyDocument=document)

    def _policy(self) -> str:
        """Give the policy that stops, as it is written; empty: there is none."""
        try:
            return self._ask("Get*Policy", PolicyName=AFTER).one("PolicyDocument")
        except Refusal as refusal:
            if refusal.code == "NoSuchEntity" and AFTER in refusal.message:
                return ""  # the policy is not there; where the role is not, that is no answer
            raise

    def _access_keys(self) -> dict[str, bool]:
        """List a user's keys, and whether each is active."""
        reply = self._ask("ListAccessKeys", MaxItems="100")
        listed = zip(reply.every("AccessKeyId"), reply.every("Status"), strict=False)
        return {key: status != "Inactive" for key, status in listed}

    # --- what a hand promises --------------------------------------------------------

    def arm(self) -> Readiness:
        """Ask STS who we are; write the canary and take it away, if it is time."""
        if self.context.role is Role.LOOK:
            return self._arm_look()
        self._not_itself(self._sts.call("GetCallerIdentity").one("Arn"))
        now_us = self._clock.mono_us()
        written = self._written_us
        if written is None or now_us - written >= self.settings.canary_every:
            left = self._canary()
            if left:
                return Readiness(Ready.DEGRADED, left)
            self._written_us = written = now_us
        ago_s = (now_us - written) // 1_000_000
        said = f"IAM took a policy on {self._whom} {ago_s} s ago and STS knows us"
        return Readiness(Ready.READY, said + self._about_clocks())

    def _not_itself(self, arn: str) -> None:
        """Refuse to stop whoever stops: it could not undo it, nor see it."""
        name = arn.partition(":assumed-role/" if self.settings.role else ":user/")[2]
        parts = name.split("/")
        own = parts[0] if self.settings.role else parts[-1]
        if own and own == (self.settings.role or self.settings.user):
            hint = "give the stop a credential of its own (secret_file)"
            raise Trouble(f"the credential that stops is {self._whom} itself", hint)

    def _canary(self) -> str:
        """Write a policy that denies nothing, take it away; give what is wrong nevertheless."""
        self._put(CANARY, canary())
        try:
            self._ask("Delete*Policy", PolicyName=CANARY)
        except Refusal as refusal:
            return f"the canary {CANARY} stays on {self._whom}, denying nothing: {refusal.message}"
        if self.settings.user is not None:
            self._access_keys()
            self._may_deactivate()
        return ""

    def _may_deactivate(self) -> None:
        """Ask for a key of nobody's to be made inactive: who may not is told so first."""
        try:
            self._ask("UpdateAccessKey", AccessKeyId=_NO_KEY, Status="Inactive")
        except Refusal as refusal:
            if refusal.code != "NoSuchEntity":
                raise

    def _about_clocks(self) -> str:
        ahead = self._iam.ahead_s
        if abs(ahead) < _FAR_S:
            return ""
        return f"; this clock is {abs(ahead)} s {'behind' if ahead > 0 else 'ahead of'} AWS's"

    def _arm_look(self) -> Readiness:
        """See whether a look would see: what is not cut must be seen not to be."""
        document = self._policy()
        cut = denies_all(document)
        if self.settings.user is not None:
            self._access_keys()
        if self._trial is not None:
            tried = self._trial.attempt()
            if tried.refused is not False and not cut:
                hint = "put what it works by now into token_file"
                raise Trouble(f"nothing is cut, and {tried.detail}: no look would tell", hint)
        if not self._apart:
            return Readiness(Ready.DEGRADED, "looks by the credential that acts")
        tries = "and tries the target's own credential" if self._trial else "as IAM tells it"
        return Readiness(Ready.READY, f"reads what is written on {self._whom}, {tries}")

    def trip(self, level: str) -> Acted:
        """Write the denial; make a user's keys inactive."""
        del level
        failed: Trouble | None = None
        try:
            self._put(AFTER, at_stop(self._iam.now_s()))
        except Trouble as trouble:
            failed = trouble
        happened: list[str] = []
        if self.settings.user is not None:
            happened = self._deactivate()
        if failed is not None:
            raise failed
        return Acted(f"IAM took the denial of everything for {self._whom}", tuple(happened))

    def _deactivate(self) -> list[str]:
        active = [key for key, on in self._access_keys().items() if on]
        failed: Trouble | None = None
        for key in active:
            try:
                self._ask("UpdateAccessKey", AccessKeyId=key, Status="Inactive")
            except Trouble as trouble:
                failed = trouble  # one that is refused keeps none from the others
        if failed is not None:
            raise failed
        return [f"access key …{printable(key[-4:])} was active, and is inactive" for key in active]

    def look(self) -> Sight:
        """Read back what is written, and try the target's own credential."""
        if not denies_all(self._policy()):
            return Sight(False, f"nothing on {self._whom} denies everything")
        if self.settings.user is not None:
            active = [key[-4:] for key, on in self._access_keys().items() if on]
            if active:
                return Sight(
                    False, f"active keys of {self._whom}: …{printable(', …'.join(active))}"
                )
        if self._trial is None:
            return Sight(True, f"IAM denies {self._whom} everything")
        tried = self._trial.attempt()
        if tried.refused:
            return Sight(True, f"IAM denies {self._whom} everything, and {tried.detail}")
        return Sight(tried.refused, f"IAM has the denial; {tried.detail}")

    def release(self) -> Acted:
        """Take back the denial of everything; what was issued before now stays refused."""
        self._sts.call("GetCallerIdentity")  # its answer bears AWS's time
        ours_s = self._clock.wall_us() // 1_000_000
        document = after_reset(max(ours_s, self._sts.now_s()) + _MARGIN_S)
        self._put(AFTER, document)
        since = denied_before(document)
        anew = [f"{self._whom}: sessions of before {since} stay refused: take new ones, or restart"]
        if self.settings.user is not None:
            keys = ", ".join(f"…{printable(key[-4:])}" for key in self._access_keys())
            anew.append(f"{self._whom}: a new access key; those of before stay inactive: {keys}")
        anew.append(f"{self._whom}: delete {AFTER} when no session of before lives, after 36 h")
        said = f"the denial of everything is taken back; that of sessions before {since} stays"
        return Acted(said, reissue=tuple(anew))

    def holds(self) -> tuple[str, ...]:
        """List the keys of a user, and say whose sessions are meant."""
        if self.settings.user is None:
            return (f"AWS sessions of {self._whom}",)
        said = {True: "active", False: "inactive"}
        return tuple(
            f"AWS access key …{printable(key[-4:])} of {self._whom}, {said[on]}"
            for key, on in self._access_keys().items()
        )

    def route(self) -> Route:
        """Say what it rests on."""
        key = "look_secret_file" if self._apart else "secret_file"
        place = getattr(self.settings, key)
        needs = () if self.settings.ca_file is None else (self.settings.ca_file,)
        line = self._iam.line
        return Route(line.transport, line.place, place, "AWS IAM", needs)

    def close(self) -> None:
        """Hang up; what was proven must be proven anew."""
        self._iam.close()
        self._sts.close()
        if self._trial is not None:
            self._trial.close()
        self._written_us = None
