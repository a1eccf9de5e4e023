"""A stop of AWS against moto, a server that answers IAM's and STS's calls from AWS's own models.

Its calls only: what moto writes and refuses is AWS's shape, but no AWS. It checks our signatures by
botocore, and rights by policies, denials included; it knows no conditions (a denial of older
sessions denies all of them there), goes on taking inactive keys, and has no other region that would
hear of a denial later. Those are shown every day against our own stub, and never by moto.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actuators.hands.stubs.aws import credentials
from installation import until
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.credentials.aws.hand import Aws, AwsSection
from offswitch.actuators.hands.credentials.aws.sigv4 import Keys, Scope, signed
from peers.environment import in_peer, peer_environ, peer_python

pytestmark = pytest.mark.peers

SETTING = """
import boto3, json, sys
here = dict(endpoint_url=sys.argv[1], region_name="us-east-1",
            aws_access_key_id="setting", aws_secret_access_key="up")
iam, sts, s3 = (boto3.client(name, **here) for name in ("iam", "sts", "s3"))
s3.create_bucket(Bucket="bucket")
trust = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
told = {}
def let(put, name, *actions):
    said = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    put(name, json.dumps(said))
def user(name, *actions):
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    let(lambda n, d: iam.put_user_policy(UserName=n, PolicyName="may", PolicyDocument=d), name,
        *actions)
    told[name] = [key["AccessKeyId"], key["SecretAccessKey"], ""]
of = lambda word: [f"iam:{verb}{word}Policy" for verb in ("Put", "Get", "Delete")]
keys = ["iam:ListAccessKeys", "iam:UpdateAccessKey"]
user("offswitch", *of("Role"), *of("User"), *keys)
user("looker", of("Role")[1], of("User")[1], keys[0])
user("powerless", "iam:GetRolePolicy")
user("agent", "s3:ListBucket")
iam.create_access_key(UserName="agent")
role = iam.create_role(RoleName="agent-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
let(lambda n, d: iam.put_role_policy(RoleName=n, PolicyName="may", PolicyDocument=d), "agent-role",
    "s3:ListBucket")
held = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="agent")["Credentials"]
told["session"] = [held["AccessKeyId"], held["SecretAccessKey"], held["SessionToken"]]
print(json.dumps(told))
"""

SEEN = """
import boto3, json, sys
iam = boto3.client("iam", endpoint_url=sys.argv[1], region_name="us-east-1",
                   aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3])
keys = iam.list_access_keys(UserName="agent")["AccessKeyMetadata"]
def policy(get):
    try:
        return get()["PolicyDocument"]
    except iam.exceptions.NoSuchEntityException:
        return None
print(json.dumps({
    "keys": sorted(key["Status"] for key in keys),
    "user": policy(lambda: iam.get_user_policy(UserName="agent", PolicyName="OffswitchRevoke")),
    "role": policy(lambda: iam.get_role_policy(RoleName="agent-role",
                                               PolicyName="OffswitchRevoke")),
}))
"""

SIGNED = """
import datetime, json, sys
from unittest import mock
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
told = []
at = datetime.datetime.fromtimestamp(int(sys.argv[2]), datetime.timezone.utc)
for method, url, service, body, headers in json.loads(sys.argv[1]):
    kind = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
    request = AWSRequest(method, url, headers, body.encode())
    signer = kind(Credentials("AKIDEXAMPLE", "a/secret+of=ours", "a token"), service, "eu-west-1")
    with mock.patch.object(auth, "get_current_datetime", lambda *_, **__: at.replace(tzinfo=None)):
        signer.add_auth(request)
    told.append(request.headers["Authorization"])
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Moto:
    """A running moto, and whose keys are whose."""

    url: str
    keys: dict[str, Keys]

    def seen(self) -> Any:  # noqa: ANN401 - what the script prints
        """Ask by AWS's own client what is written."""
        one = self.keys["looker"]
        return in_peer("moto", SEEN, self.url, one.access_key, one.secret_key)

    def hand(self, use: Role, who: str, **said: str) -> Aws:
        place = "secret_file" if use is Role.ACT else "look_secret_file"
        names = {"name": "cloud", "target": "shop/agent", "kind": "aws", "secret_file": "/s"}
        names |= {"look_secret_file": "/l", "endpoint": self.url}
        section = AwsSection.model_validate(names | said)
        secrets = {place: credentials(self.keys[who])}
        if section.token_file:
            secrets["token_file"] = credentials(self.keys["session"])
        return Aws(section, Context(use, secrets))


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[Moto]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    program = str(Path(peer_python("moto")).with_name("moto_server"))
    with (tmp_path / "said").open("wb") as said:
        server = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(port)],
            stdout=said,
            stderr=said,
            env=peer_environ(),
            cwd=tmp_path,
        )

    def up() -> bool:
        assert server.poll() is None, (tmp_path / "said").read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    try:
        until(up, "moto is up", 60)
        told = in_peer("moto", SETTING, url)
        # From here on it lets in whom the policies let in.
        plain = {"content-type": "text/plain"}
        guarded = urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", plain)
        urllib.request.urlopen(guarded, timeout=10).close()
        yield Moto(url, {name: Keys(*keys) for name, keys in told.items()})
    finally:
        server.kill()
        server.wait()


def test_RST_8_a_real_moto_denies_a_role_and_its_old_session_is_never_let_in_again(
    moto: Moto,
) -> None:
    tries = {"token_file": "/t", "probe": f"{moto.url}/bucket?list-type=2"}
    hand = moto.hand(Role.ACT, "offswitch", role="agent-role")
    look = moto.hand(Role.LOOK, "looker", role="agent-role", **tries)
    try:
        assert hand.arm().state is Ready.READY
        assert look.arm().state is Ready.READY
        assert look.look().stands is False
        assert moto.seen()["role"] is None
        hand.trip("kill")
        sight = look.look()
        assert sight.stands is True
        assert "AccessDenied" in sight.detail
        assert moto.seen()["role"]["Statement"][0] == {
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
        }
        released = hand.release()
        assert any("stay refused" in one for one in released.reissue)
        left = moto.seen()["role"]["Statement"]
        assert ["Condition" in one for one in left] == [True]
        assert look.look().stands is False, "IAM lets in whoever comes anew"
        assert look._trial is not None
        assert look._trial.attempt().refused, "and nobody of before"
    finally:
        hand.close()
        look.close()


def test_RST_8_a_real_moto_makes_a_users_keys_inactive_and_they_stay_so(moto: Moto) -> None:
    hand = moto.hand(Role.ACT, "offswitch", user="agent")
    look = moto.hand(Role.LOOK, "looker", user="agent")
    try:
        assert hand.arm().state is Ready.READY
        assert look.arm().state is Ready.READY
        assert len(hand.holds()) == 2
        assert moto.seen()["keys"] == ["Active", "Active"]
        assert len(hand.trip("kill").happened) == 2
        assert look.look().stands is True
        seen = moto.seen()
        assert seen["keys"] == ["Inactive", "Inactive"]
        assert seen["user"] is not None
        hand.release()
        assert moto.seen()["keys"] == ["Inactive", "Inactive"]
    finally:
        hand.close()
        look.close()


def test_DRL_4_a_real_moto_refuses_who_may_not_and_whose_secret_is_another(moto: Moto) -> None:
    powerless = moto.hand(Role.ACT, "powerless", role="agent-role")
    wrong = Keys(moto.keys["offswitch"].access_key, "another-secret-of-ours")
    stale = Aws(powerless.settings, Context(Role.ACT, {"secret_file": credentials(wrong)}))
    try:
        with pytest.raises(Trouble, match="AccessDenied"):
            powerless.arm()
        with pytest.raises(Trouble) as raised:
            stale.arm()
        assert "SignatureDoesNotMatch" in str(raised.value)
        assert "another-secret" not in str(raised.value)
        assert moto.seen()["role"] is None
    finally:
        powerless.close()
        stale.close()


def test_a_request_is_signed_as_botocore_signs_it(rng: random.Random) -> None:
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    asked: list[tuple[str, str, str, str, dict[str, str]]] = [
        ("POST", "https://iam.amazonaws.com/", "iam", "Action=ListUsers&Version=2010-05-08", form),
        ("POST", "http://127.0.0.1:5000/", "sts", "Action=GetCallerIdentity", form),
        (
            "GET",
            "https://b.s3.amazonaws.com/?list-type=2&prefix=a%20b%2Fc&max-keys=1",
            "s3",
            "",
            {},
        ),
        ("GET", "https://s3.amazonaws.com/bucket/a%20b/%C3%BC~-_.txt", "s3", "", {}),
        ("GET", "https://api.example.org/v1/a%20b/c?z=1&a=%2B&b=&a=0", "execute-api", "", {}),
    ]
    for number in range(20):
        word = "".join(rng.choice("aZ09-_.~") for _ in range(rng.randrange(1, 12)))
        pairs = "&".join(f"{rng.choice('abc')}={rng.randrange(99)}" for _ in range(number % 4))
        url = f"https://{rng.choice(['a', 'b.c'])}.example.org/{word}" + (f"?{pairs}" * bool(pairs))
        asked.append(("GET", url, rng.choice(["s3", "lambda"]), "", {}))
    time_s = 1_795_000_000 + rng.randrange(10**6)
    keys = Keys("AKIDEXAMPLE", "a/secret+of=ours", "a token")
    ours = [
        signed(keys, Scope("eu-west-1", service), method, url, body.encode(), time_s, headers)[
            "authorization"
        ]
        for method, url, service, body, headers in asked
    ]
    assert ours == in_peer("moto", SIGNED, json.dumps(asked), str(time_s))
