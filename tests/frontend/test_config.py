"""frontend.toml: the shortest file, the whole file, and faults that name their field."""

from __future__ import annotations

from pathlib import Path

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.frontend.config import FrontEndConfig, load_config

SHORTEST = """
domain = "example.test"
name = "fe.example.test"
edges = [{ name = "edge.example.test", mras = "edge.example.test:5062" }]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "frontend.toml"
    path.write_text(text)
    return path


def test_three_lines_are_enough_and_tls_is_on(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SHORTEST))
    assert [listen.transport for listen in config.listen] == ["tls"]
    assert config.tls.key == tmp_path.resolve() / "frontend.key"
    assert config.database == str(tmp_path.resolve() / "frontend.sqlite")


def test_the_documented_file_shows_the_defaults(tmp_path: Path) -> None:
    documented = Path(__file__).parents[2] / "config" / "frontend.toml"
    shown = load_config(written(tmp_path, documented.read_text()))
    assert shown == load_config(written(tmp_path, SHORTEST))


def test_a_database_url_is_left_alone(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, 'database = "sqlite:////var/x.sqlite"' + SHORTEST))
    assert config.database == "sqlite:////var/x.sqlite"


@pytest.mark.parametrize(
    ("damage", "by", "said"),
    [
        ("domain", "domian", "domian"),
        ('domain = "example.test"', "", "domain: Field required"),
        (":5062", "", "edges.0.mras: 'edge.example.test' names no port"),
        (":5062", ":99999", "edges.0.mras: '99999' is not a port"),
        ('"fe.example.test"', '"fe example"', "name: "),
        ("edges", "listen = []\nedges", "listen names no port"),
        ("edges", 'listen = [{address="fe:5061"}]\nedges', "listen.0.address: "),
        ("edges", 'listen = [{transport="carrier pigeon"}]\nedges', "listen.0.transport: "),
        ("edges", 'listen = [{transport="wss"}]\nedges', "the first of listen must be for servers"),
        ("edges", 'web = {origins=["phone.example.test"]}\nedges', "web.origins.0: "),
        ("edges", "registration = {min_expires = 7000}\nedges", "min_expires ≤ default_expires"),
        ("[{", '[{name="EDGE.example.test",mras="a:1"},{', "two edges have the same name"),
        ("=", "==", "is not TOML"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, damage: str, by: str, said: str) -> None:
    assert damage in SHORTEST
    with pytest.raises(EnvironmentFailure, match=r"frontend\.toml") as failure:
        load_config(written(tmp_path, SHORTEST.replace(damage, by, 1)))
    assert said in failure.value.cause


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="cannot be read"):
        load_config(tmp_path / "absent.toml")


def test_an_edge_is_known_by_any_name_of_its_certificate() -> None:
    config = FrontEndConfig.model_validate(
        {"domain": "a.test", "name": "fe.a.test", "edges": [{"name": "Edge.a.test", "mras": "e:5062"}]}
    )
    assert config.edge_named(("other", "edge.A.test")) is config.edges[0]
    assert config.edge_named(("other",)) is None
    assert config.edge_named(()) is None
