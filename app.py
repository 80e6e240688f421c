"""The Streamlit app: one page per file in ``pages/``. Open it with ``workbench app``."""

from pages._frame import show

show()
