from pages import put, replaced

PAGE = "before\n<!-- growth -->\nold\n<!-- /growth -->\nbetween\n<!-- minutes -->\n<!-- /minutes -->\nafter\n"


def test_a_block_takes_the_place_of_the_one_before():
    page = replaced(PAGE, "growth", "a\\1\nb")
    assert page == PAGE.replace("old", "a\\1\nb")
    assert replaced(page, "growth", "old") == PAGE
    assert replaced(PAGE, "minutes", "new") == PAGE.replace("<!-- /minutes", "new\n<!-- /minutes")


def test_a_page_without_the_place_is_written_anew(tmp_path):
    assert replaced(PAGE, "sustained", "new") is None
    path = tmp_path / "figures.md"
    put(path, "sustained", "new")
    assert path.read_text() == "new\n"
    path.write_text(PAGE)
    put(path, "growth", "new")
    assert path.read_text() == PAGE.replace("old", "new")
