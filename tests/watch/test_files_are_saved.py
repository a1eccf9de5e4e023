"""An agent that deletes files as fast as it can, watched from outside and stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from installation import PYTHON, until
from offswitch.watch.evidence import read_changes

if TYPE_CHECKING:
    from conftest import Shop

FILES = 10_000
LIMIT = 20
AGENT = """\
import os, sys, time
print("ready", flush=True)
while not os.path.exists("../go"):
    time.sleep(0.001)
for number in range(10_000):
    os.unlink(f"{number % 50}/{number}")
time.sleep(60)
"""


def test_DET_3_a_mass_delete_of_files_is_cut_and_every_file_lost_is_listed(shop: Shop) -> None:
    root = shop.installation.work / "project"
    for folder in range(50):
        (root / str(folder)).mkdir(parents=True)
    for number in range(FILES):
        (root / str(number % 50) / str(number)).touch()
    (shop.installation.work / "agent.py").write_text(AGENT)
    series = "project.deleted"
    shop.start_watch(
        f'[[sensor]]\nname = "project"\ntarget = "shop/agent"\nkind = "files"\n'
        f'path = "{root}"\nevery = "100ms"\n',
        shop.rule(f"""{{ kind = "rate", series = '{series}', above = {LIMIT}, per = "1s" }}"""),
    )
    shell = f"cd project && exec {PYTHON} -I ../agent.py"
    agent = shop.installation.run("sh", "-c", shell, target="shop/agent")
    assert agent.line() == "ready", agent.read()
    until(shop.seen, "the files are watched", 10)
    evidence = Path(shop.installation.home, "evidence", "project.jsonl")
    (shop.installation.work / "go").touch()
    assert shop.wait_stopped(agent)["level"] == "kill"
    left = {path.name for path in root.rglob("*") if path.is_file()}
    lost = FILES - len(left)
    print(f"N = {LIMIT}, files lost = {lost}, overrun = {lost - LIMIT}")
    assert LIMIT < lost < FILES, "it was cut in the middle"

    def listed() -> bool:
        changes = [change for _when, change in read_changes(evidence.read_bytes())]
        return {str(one.key).rpartition("/")[2] for one in changes if one.kind == "deleted"} == {
            str(number) for number in range(FILES)
        } - left

    until(listed, "exactly the lost files are listed", 5)
    found = until(lambda: shop.entries("finding"), "the finding is recorded", 5)
    [claim] = [one for one in found if one["detector"].startswith("rate")]
    assert (claim["target"], claim["series"]) == ("shop/agent", series)
    told = str(claim)
    assert "deleted_1" in told
    assert " by pid " in told, "by fanotify it is known who did it"
