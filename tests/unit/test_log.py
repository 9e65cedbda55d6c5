"""The log."""

from pathlib import Path

from specdis import log


def test_a_log_that_cannot_be_written_ends_nothing_and_shows_no_traceback(capsys, monkeypatch):
    monkeypatch.setattr(log.logger, "handlers", [])
    with log.to_file(Path("/dev/full")):
        log.logger.warning("a line")
    assert "Traceback" not in capsys.readouterr().err
