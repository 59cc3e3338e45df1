"""Lines of progress."""

from bitwright.models.command_line.progress_lines import counted


def test_long_work_says_how_far_it_is():
    lines = []
    assert [*counted(range(3), "layers", lines.append, every=0)] == [0, 1, 2]
    assert lines == ["layers: 0 of 3 done", "layers: 1 of 3 done", "layers: 2 of 3 done"]


def test_short_work_says_nothing():
    lines = []
    assert [*counted("abc", "layers", lines.append)] == ["a", "b", "c"] and not lines
