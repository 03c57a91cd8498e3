import cmarkgfm

import hitmap


@hitmap.harness
def run(data):
    cmarkgfm.github_flavored_markdown_to_html(data.decode("utf-8", "replace"))
