"""Sphinx: pages in MyST, the reference of the code from its docstrings."""

import specdis

project = "specdis"
author = "the specdis developers"
copyright = author
release = version = specdis.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "dollarmath"]

html_theme = "furo"
html_title = f"specdis {release}"
html_copy_source = False
html_show_sourcelink = False

napoleon_numpy_docstring = True
napoleon_google_docstring = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
