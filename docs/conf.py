"""Sphinx configuration: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

import inspect

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import sklreg

project = "sklreg"
author = "The sklreg developers"
copyright = "2026, the sklreg developers"
version = release = sklreg.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst"]
default_role = "literal"

# The reference ------------------------------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have the types
numpydoc_show_class_members = False  # the template lists them
numpydoc_class_members_toctree = False

# The gallery --------------------------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",  # other scripts are shown and not run
    "doc_module": ("sklreg",),
    "backreferences_dir": "generated/backreferences",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,  # of the machine that builds
    "min_reported_time": 1e6,
}

# The pages ----------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "sklreg"
html_math_renderer = "mathml"  # see setup
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {
    page: [] for page in ("index", "getting_started", "regularizers", "design", "changelog", "contributing")
}
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}


def skip_inherited(app, what, name, obj, skip, options):
    """Leave out attributes, which the class docstrings list, and what scikit-learn documents."""
    function = inspect.unwrap(obj) if callable(obj) else obj
    is_ours = str(getattr(function, "__module__", "")).startswith("sklreg")
    return skip or not is_ours if what == "class" and not name.startswith("_") else None


def math_inline(translator, node):
    """Write a formula as MathML, which browsers show without a script from elsewhere."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def math_block(translator, node):
    """Write a formula of its own."""
    translator.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.connect("autodoc-skip-member", skip_inherited)
    app.add_html_math_renderer("mathml", (math_inline, None), (math_block, None))
