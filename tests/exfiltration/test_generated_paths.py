"""Paths from the allowed edges and from a policy text."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimir.errors import MimirError
from mimir.exfiltration.__main__ import main
from mimir.exfiltration.netsec import parse_policy
from mimir.exfiltration.paths import directed_paths
from mimir.exfiltration.plan import World, plan_incidents
from mimir.exfiltration.validate import problems
from mimir.spec.exfiltration import PathsSpec
from tests.exfiltration.exfiltration_samples import EDGES, SERVICES, scenario

SHORT, LONG = ("user-db", "user", "front-end", "outside"), ("user-db", "user", "orders", "front-end", "outside")
POLICY = "# shop\nInternet may talk to front-end\nfront-end may talk to user and orders\norders calls user\nuser calls user-db."


def test_directions_choose_who_connects() -> None:
    assert directed_paths(EDGES, "user-db", 5, "reply", 9) == [SHORT, LONG]
    assert directed_paths(EDGES, "user-db", 5, "request", 9) == []
    mailing = [*EDGES, ("user-db", "mailer"), ("mailer", "outside"), ("user-db", "kube-dns"), ("kube-dns", "outside")]
    assert directed_paths(mailing, "user-db", 5, "request", 9) == [("user-db", "mailer", "outside")]


def test_incidents_take_generated_paths_in_turn() -> None:
    spec = scenario("relay_chain", paths=PathsSpec("user-db", 5, "reply", 2))
    assert problems(spec, SERVICES, EDGES, 7200) == []
    assert [i.path for i in plan_incidents(spec, 0, 7200, (1, 2), World(EDGES))] == [SHORT, LONG, SHORT]


def test_no_such_path_is_a_problem_with_alternatives() -> None:
    (found,) = problems(scenario("relay_chain", paths=PathsSpec("user-db", 5, "request", 2)), SERVICES, EDGES, 7200)
    assert "user-db → user → front-end → outside" in str(found)
    (found,) = problems(scenario("direct", paths=PathsSpec("user-db", 5, "reply", 2)), SERVICES, EDGES, 7200)
    assert "path_class new_edge" in str(found)
    (found,) = problems(scenario("relay_chain", paths=PathsSpec("user-db", 0, "reply", 2)), SERVICES, EDGES, 7200)
    assert found.where == "exfiltration.paths.max_hops"


def test_an_unknown_store_is_one_problem_with_the_closest_name() -> None:
    (found,) = problems(scenario("relay_chain", paths=PathsSpec("user-dbs", 5, "reply", 2)), SERVICES, EDGES, 7200)
    assert found.where == "exfiltration.paths.store"
    assert "did you mean user-db?" in str(found)


def test_policy_sentences_become_edges() -> None:
    policy = parse_policy(POLICY)
    assert policy.edges == {
        ("outside", "front-end"), ("front-end", "user"), ("front-end", "orders"), ("orders", "user"), ("user", "user-db"),
    }  # fmt: skip
    assert policy.by_address == {("orders", "user"), ("user", "user-db")}
    with pytest.raises(MimirError, match="line 2: 'a likes b'; line 3: 'a calls !'"):
        parse_policy("a calls b\na likes b\na calls !")


def test_command_lists_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.txt").write_text(POLICY)
    assert main(["paths", str(tmp_path / "policy.txt"), "--from", "user-db", "--count", "1"]) == 0
    assert capsys.readouterr().out.startswith(
        "'exfiltration.path=[user-db,user,front-end,outside]' exfiltration.address=service  # pull, pull, pull\n"
    )
    assert main(["paths", str(tmp_path / "policy.txt"), "--from", "userdb"]) == 2
    assert "did you mean user-db?" in capsys.readouterr().err
    assert main(["paths", str(tmp_path / "none.txt"), "--from", "user-db"]) == 2
    assert "none.txt cannot be read" in capsys.readouterr().err


def test_where_pods_may_be_reached_both_addresses_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.txt"
    policy.write_text("internet may talk to web\nweb may talk to db\nweb calls cache\n", encoding="utf-8")
    assert main(["paths", str(policy), "--from", "db"]) == 0
    *lines, fan = capsys.readouterr().out.splitlines()
    assert fan.startswith("'exfiltration.fan={kind:one_to_n,branches:2,stores:[]}'")
    assert [line.split()[1] for line in lines] == ["exfiltration.address=service", "exfiltration.address=pod"]
    assert main(["paths", str(policy), "--from", "cache"]) == 0
    assert "address=pod" not in capsys.readouterr().out
    assert main(["paths", str(policy), "--from", "db", "--and-from", "cache"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "'exfiltration.fan={kind:n_to_1,branches:2,stores:[cache]}'  # several stores → web"
    )
