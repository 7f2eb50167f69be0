"""What is counted while a job runs."""

from modeling_audio_branch.corpus.progress import JobProgress


def test_rows_seconds_and_failures_are_counted(capsys):
    with JobProgress(3, is_shown=False) as progress:
        progress.advance(1, 2.0, 0)
        progress.advance(2, 0.0, 1)
    assert (progress.rows, progress.seconds, progress.failures) == (3, 2.0, 1)
    assert progress.times_real_time > 0
    assert not capsys.readouterr().err


def test_it_is_shown(capsys):
    with JobProgress(2, is_shown=True) as progress:
        progress.advance(2, 1.0, 1)
    shown = capsys.readouterr().err
    assert "2/2" in shown and "1 errors" in shown
