import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from topologies.cli import app
from topologies.files import load
from topologies.format import json_schema
from topologies.three_tier import three_tier
from topologies.writing import to_yaml


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.yaml"
    file.write_text(to_yaml(load("figure2")).replace("[access1, user1]", "[access1, user9]"))
    return file


def test_check_says_one_line_about_a_valid_topology() -> None:
    result = run("check", "metro")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "metro: 14 switches, 26 hosts (8 edges, 16 users), 51 links; "
        "users reach 8 nearest edges in 1.75 to 2.49 ms one way\n"
    )


def test_check_prints_the_findings_and_exits_with_2(broken: Path) -> None:
    result = run("check", broken)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{broken}:")
    assert result.stderr.endswith(": links[access1-user9]: there is no node 'user9'; did you mean 'user6'?\n")


def test_check_as_json(broken: Path) -> None:
    result = run("check", "figure2", "--json")
    data = json.loads(result.stdout)
    assert (result.exit_code, data["ok"], data["findings"]) == (0, True, [])
    assert data["users"][3] == {
        "name": "user4",
        "access": "access2",
        "edge": "edge2",
        "edge_ms": 15.1,
        "equally_near": [],
        "origin_ms": 24.5,
    }
    result = run("check", broken, "--json")
    data = json.loads(result.stdout)
    assert (result.exit_code, data["ok"], data["file"]) == (2, False, str(broken))
    assert data["findings"][0]["field"] == "links[access1-user9]"
    assert data["findings"][0]["line"] > 1


def test_check_notes_edges_that_are_equally_near(tmp_path: Path) -> None:
    file = tmp_path / "tie.yaml"
    file.write_text(to_yaml(three_tier(1, 1, 3, edges=2, users_per_access=1, spread=0)))
    result = run("check", file)
    assert result.exit_code == 0
    assert result.stderr == (
        "note: user3: edge1, edge2 are equally near (3.1 ms); edge1 comes first in the file and is taken\n"
    )


def test_list_has_a_line_for_each_topology() -> None:
    result = run("list")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["figure2", "metro"]
    assert [entry["name"] for entry in json.loads(run("list", "--json").stdout)] == ["figure2", "metro"]


def test_show_has_links_nodes_addresses_and_users() -> None:
    result = run("show", "figure2")
    assert result.exit_code == 0
    rows = [[cell.strip() for cell in line.strip("│\n").split("│")] for line in result.stdout.splitlines()]
    assert ["user", "6", "2 to 15", "20 to 100"] in rows
    assert ["access2", "access", "02:6e:63:01:00:05", "2001:db8:2::/64"] in rows
    assert ["edge3", "edge", "02:6e:63:10:00:03", "fd6e:6361:7374:3::1/64"] in rows
    assert ["user4", "access2", "edge2", "15.1", "24.5"] in rows
    assert json.loads(run("show", "figure2", "--json").stdout)["links"] == 18


def test_show_of_an_unknown_name() -> None:
    result = run("show", "metor")
    assert (result.exit_code, result.stderr) == (2, "metor: does not exist; did you mean `metro`?\n")


def test_generate_writes_what_the_generator_makes(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    arguments = ("--core", "3", "--distribution", "4", "--access", "6", "--users-per-access", "3", "--mesh")
    assert run("generate", *arguments, "-o", file).exit_code == 0
    assert load(file) == three_tier(3, 4, 6, users_per_access=3, mesh=True)
    assert run("generate", *arguments).stdout == file.read_text()


def test_generate_overwrites_only_when_told(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text("mine")
    result = run("generate", "-o", file)
    assert (result.exit_code, file.read_text()) == (2, "mine")
    assert result.stderr == f"{file}: exists; choose another file or give --force\n"
    assert run("generate", "-o", file, "--force").exit_code == 0
    assert load(file) == three_tier(2, 4, 8)


def test_generate_refuses_what_cannot_be() -> None:
    result = run("generate", "--access", "0")
    assert (result.exit_code, result.stderr) == (2, "access is 0; expected 1 to 999\n")
    result = run("generate", "--name", "My Net")
    assert result.exit_code == 2
    assert result.stderr == "'My Net' cannot name a topology; expected 1 to 40 of a-z, 0-9 and -\n"


def test_generate_into_a_missing_folder(tmp_path: Path) -> None:
    result = run("generate", "-o", tmp_path / "none" / "net.yaml")
    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_schema_is_the_schema() -> None:
    assert json.loads(run("schema").stdout) == json_schema()


def test_importing_the_commands_loads_nothing_heavy() -> None:
    heavy = "('pydantic', 'yaml', 'rich.table')"
    code = f"import sys, topologies.cli; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
