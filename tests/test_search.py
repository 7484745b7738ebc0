"""The search: of the built book, from a folder, in a real browser."""

import re

import pytest

from search_index import sections

pytestmark = pytest.mark.site

# What a reader types, and the places of which one must be first or second; written before tuning.
QUERIES = {
    "posterior collapse": "08-vae#sum-or-mean 11-kl-weight#a-plateau",
    "KL vanishing": "08-vae#sum-or-mean 11-kl-weight#a-plateau",
    "IWAE": "09-bound#where-no-grid",
    "importance weighted autoencoder": "09-bound#where-no-grid",
    "beta-VAE": "11-kl-weight#the-kl-weight 11-kl-weight#the-same-number-as-noise 11-kl-weight#a-price",
    "β-VAE": "11-kl-weight#the-kl-weight 11-kl-weight#the-same-number-as-noise 11-kl-weight#a-price",
    "free bits": "11-kl-weight#a-race 11-kl-weight#a-long-plateau",
    "FID": "13-judging#on-two-folders 13-judging#what-belongs 13-judging#a-distance-between",
    "frechet distance": "13-judging#a-distance-between 03-cannot-generate#three-ways",
    "jensen's inequality": "06-elbo#by-jensens derivations#jensens",
    "mean field": "06-elbo#what-a-family",
    "amortization gap": "06-elbo#one-network-for-all",
    "reparameterization trick": "07-reparameterization#",
    "reparametrization trick": "07-reparameterization#",
    "log-sum-exp": "derivations#logarithms",
    "why are VAE samples blurry": "12-faces#",
    "score function estimator": "07-reparameterization#same-places",
    "REINFORCE": "07-reparameterization#same-places",
    "control variates": "07-reparameterization#a-control-variate",
    "k-means": "04-em#k-means",
    "PCA": "01-autoencoders#what-a-linear 01-autoencoders#what-the-bends",
    "denoising autoencoder": "02-regularized#denoising 02-regularized#the-idea",
    "contractive autoencoder": "02-regularized#contraction",
    "slerp": "10-latent-space#walks",
    "disentanglement": "12-faces#which-latent",
    "KL annealing": "11-kl-weight#a-race 11-kl-weight#a-long-plateau",
    "langevin": "02-regularized#drawing-slowly 05-intractable#a-rule",
    "Metropolis": "05-intractable#a-rule 05-intractable#do-the-chains",
    "precision and recall": "13-judging#fidelity",
    "KID": "13-judging#a-distance-without-bias",
    "aggregate posterior": "10-latent-space#the-idea 10-latent-space#the-cloud",
    "rate distortion": "11-kl-weight#a-price",
    "compression in bits": "11-kl-weight#the-rate-in-bits",
    "learning rate": "14-lessons#takeaway-2",
    "Colab": "running#in-colab",
    "my own images": "running#images-of-your-own",
    "EM algorithm": "04-em#latent-variables-and-em 04-em#in-code 04-em#a-story",
}


@pytest.fixture(scope="module")
def search(browser):
    from built_book import HTML

    page = browser.new_page()
    page.goto(f"{HTML.as_uri()}/search.html?q=slerp")
    page.wait_for_selector("#search-results li")

    def find(query: str) -> list[str]:
        page.locator(".bd-search-container input").fill(query)
        return page.locator("#search-results li a").evaluate_all("all => all.map((a) => a.href)")

    yield find
    page.close()


def place(href: str) -> str:
    return re.sub(r"^.*/book/(.*)\.html.*(#.*)$", r"\1\2", href)


@pytest.mark.parametrize("query", QUERIES)
def test_the_place_that_a_reader_looks_for_comes_first_or_second(search, query):
    found = [place(href) for href in search(query)]
    assert any(name.startswith(tuple(QUERIES[query].split())) for name in found[:2]), found[:5]


@pytest.mark.parametrize("query", ["postreior colapse", "reparametrisation", "Frechét"])
def test_a_slip_of_the_pen_is_forgiven(search, query):
    assert search(query)


def test_what_is_nowhere_is_said_to_be_nowhere(search, visit):
    assert search("xyzzyplugh") == []
    page = visit("search.html?q=xyzzyplugh")
    assert "No places for “xyzzyplugh”" in page.locator("#search-results").inner_text()


@pytest.mark.parametrize("by", ["file", "http"])
def test_a_result_shows_the_words_and_leads_to_the_section_where_they_are_marked(visit, by):
    page = visit("search.html?q=free+bits", by=by)
    first = page.locator("#search-results li").first
    assert first.locator("mark").count() >= 1
    first.locator("a").click()
    page.wait_for_selector(".bd-article .highlighted")
    section = page.locator(page.evaluate("location.hash"))
    assert section.bounding_box()["y"] < page.viewport_size["height"]
    marked = section.locator(".highlighted")
    words = {text.lower() for text in marked.all_text_contents()} - {""}
    assert words and words <= {"free", "bits"}
    plain, seen = section.evaluate("""e => [e, e.querySelector(".highlighted")]
      .map((each) => getComputedStyle(each).backgroundColor)""")
    assert plain != seen


def test_sections_have_their_own_words_and_no_code():
    html = """<article><section id="a"><h1><span class="section-number">8. </span>One</h1>
      <p>first <strong>word</strong></p><pre>code</pre>
      <section id="b"><h2>Two</h2>
      <p>second <span class="math"><math><mi>x</mi></math></span></p></section>
      <dl class="glossary"><dt id="term-t">Term</dt><dd>what it is</dd></dl></section></article>"""
    one, two, term = sections(html, "book/one.html")
    assert (one["section"], one["text"], one["defines"]) == ("8. One", "first word", "word")
    assert (two["url"], two["text"], two["kind"]) == ("book/one.html#b", "second x", "chapter")
    assert (term["url"], term["text"]) == ("book/one.html#term-t", "what it is")
    assert term["kind"] == "term"
    assert sections("<p>no article</p>", "x.html") == []
