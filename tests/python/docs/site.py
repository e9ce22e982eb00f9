"""One folder to read: rustdoc, the Python package by pdoc, and the pages of this repository.

`make docs` calls it with cargo's target folder, after rustdoc, and finds the site in `site/` there.
A link that leads nowhere ends it with an error. Files that are no page are linked to where the
repository is published.
"""

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[3]
_LINK = re.compile(r'(?<=href=")([^"]+)(?=")')
_EXTRAS = ["tables", "fenced-code-blocks", "header-ids", "code-friendly"]
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ max-width: 52rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; }}
pre {{ overflow-x: auto; padding: .7rem; background: #8881; }}
code {{ font-size: .9em; }}
td, th {{ padding: .2rem .6rem; border-bottom: 1px solid #8884; text-align: left; }}
</style></head>
<body><nav><a href="{home}">Tokenmill</a></nav>
{body}
</body></html>
"""
_INDEX = """\
<h1>Tokenmill {version}</h1>
<p>Decode, serve and compress large language models.</p>
<ul>
<li><a href="rust/tokenmill/index.html">The crate</a>, for services in Rust</li>
<li><a href="python/tokenmill.html">The package</a>, for programs in Python</li>
</ul>
<h2>Pages</h2>
<ul>{pages}</ul>
<h2>Inside</h2>
<ul>{crates}</ul>
"""


def pages(root: Path) -> list[PurePosixPath]:
    """Every page of the repository, the first ones first."""
    found = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    relative = (PurePosixPath(page.relative_to(root)) for page in found)
    return sorted(relative, key=lambda page: (page.name != "README.md", len(page.parts), page))


def target_of(page: PurePosixPath, link: str, published: str) -> str:
    """Where a link of a page leads in the site."""
    if urlsplit(link).scheme or link.startswith("#"):
        return link
    path, _, fragment = link.partition("#")
    if path.endswith(".md"):
        return path.removesuffix(".md") + ".html" + (f"#{fragment}" if fragment else "")
    inside = PurePosixPath(os.path.normpath(page.parent / path))
    return f"{published}/tree/main/{inside}"


def title(text: str, page: PurePosixPath) -> str:
    """A page's first heading, or its name."""
    heading = re.search(r"^# (.+)$", text, re.M)
    return heading[1] if heading else page.stem


def broken(site: Path, made: list[Path]) -> list[str]:
    """Links of our own pages to files that are not there."""
    problems = []
    for page in made:
        for link in _LINK.findall(page.read_text("utf-8")):
            parts = urlsplit(link)
            if not parts.scheme and parts.path and not (page.parent / parts.path).exists():
                problems.append(f"{page.relative_to(site)} links to {link}")
    return problems


def build(target: Path) -> Path:
    """The whole site."""
    site = target / "site"
    shutil.rmtree(site, ignore_errors=True)
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]
    # Beside the pages lies what the surface's test and other crates left in the folder.
    ignored = shutil.ignore_patterns("*.json", "_tokenmill")
    shutil.copytree(target / "doc", site / "rust", ignore=ignored)
    _python(site / "python")
    published = manifest["package"]["repository"]
    made = [_page(site, page, published) for page in pages(ROOT)]
    made.append(_index(site, manifest))
    if problems := broken(site, made):
        sys.exit("\n".join(problems))
    return site / "index.html"


def _python(folder: Path) -> None:
    import pdoc

    pdoc.render.configure(docformat="markdown", show_source=False)
    pdoc.pdoc("tokenmill", output_directory=folder)


def _page(site: Path, page: PurePosixPath, published: str) -> Path:
    import markdown2

    text = (ROOT / page).read_text("utf-8")
    body = str(markdown2.markdown(text, extras=_EXTRAS))
    body = _LINK.sub(lambda match: target_of(page, match[1], published), body)
    home = "../" * (len(page.parts) - 1) + "index.html"
    out = site / page.with_suffix(".html")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_PAGE.format(title=title(text, page), home=home, body=body), "utf-8")
    return out


def _index(site: Path, manifest: dict) -> Path:
    def item(link: str, text: str) -> str:
        return f'<li><a href="{link}">{text}</a></li>\n'

    listed = "".join(
        item(str(page.with_suffix(".html")), title((ROOT / page).read_text("utf-8"), page))
        for page in pages(ROOT)
    )
    names = sorted(path.name for path in (site / "rust").glob("tokenmill_*") if path.is_dir())
    crates = "".join(item(f"rust/{name}/index.html", f"<code>{name}</code>") for name in names)
    body = _INDEX.format(version=manifest["package"]["version"], pages=listed, crates=crates)
    out = site / "index.html"
    out.write_text(_PAGE.format(title="Tokenmill", home="index.html", body=body), "utf-8")
    return out


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")
