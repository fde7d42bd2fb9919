"""What `publisher explain` brings of a model's files: those that say what it needs, and hardly a byte more."""

from __future__ import annotations

import tempfile
from pathlib import Path

from publisher.progress import Silent
from tests.contract.world import MLMODEL, World


def test_the_files_that_tell_are_brought_and_the_large_ones_are_not(world: World, tmp_path: Path) -> None:
    """Lock files of some MB and included files of any name come; weights and what lies deeper stay where they are."""
    client = world.server.client()
    run = client.create_run("0").info.run_id
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "MLmodel").write_text(MLMODEL)
        (folder / "requirements.txt").write_text("-r pinned\n")
        (folder / "pinned").write_text("six==1.16.0\n")
        (folder / "uv.lock").write_bytes(b"#" * (2 << 20))
        (folder / "weights.bin").write_bytes(b"w" * (2 << 20))
        (folder / "data").mkdir()
        (folder / "data" / "notes.txt").write_text("deeper")
        client.log_artifacts(run, name, "mymodel")
    world.register()
    source = f"{client.get_run(run).info.artifact_uri}/mymodel"
    number = str(client.create_model_version(world.model, source, run).version)

    with world.app("EXAMINED") as app:
        found = app.stages.source.examine(world.version(number), tmp_path / "new", Silent(), "it")
    brought = sorted(path.name for path in found.fetched.model.rglob("*") if path.is_file())
    assert brought == ["MLmodel", "pinned", "requirements.txt", "uv.lock"]
    assert (found.model.files, found.client) == (6, None)
    assert found.model.bytes > 4 << 20
    assert found.model.why == "its source is a model"
    assert found.model.place.endswith("/mymodel")
