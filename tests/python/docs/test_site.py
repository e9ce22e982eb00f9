"""The site of `make docs`: which pages it has, where links lead. The rest it checks itself."""

from pathlib import PurePosixPath

from docs import site


def test_every_page_of_the_repository_is_in_the_site(repository):
    found = site.pages(repository)
    assert found[0] == PurePosixPath("README.md")
    assert PurePosixPath("docs/what-happens-to-a-request.md") in found
    assert len([page for page in found if page.parts[:2] == ("docs", "adr")]) >= 14


def test_links_lead_to_pages_or_to_the_published_repository():
    page = PurePosixPath("docs/adding.md")
    cases = {
        "../ARCHITECTURE.md": "../ARCHITECTURE.html",
        "adr/0004-events.md#why": "adr/0004-events.html#why",
        "../rust/lib.rs": "https://code.example/t/tree/main/rust/lib.rs",
        "adr": "https://code.example/t/tree/main/docs/adr",
        "https://example.org/a.md": "https://example.org/a.md",
        "#here": "#here",
    }
    for link, expected in cases.items():
        assert site.target_of(page, link, "https://code.example/t") == expected


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "a.html"
    page.write_text('<a href="b.html"></a><a href="a.html#x"></a><a href="https://example.org">')
    assert site.broken(tmp_path, [page]) == ["a.html links to b.html"]
