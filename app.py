"""The Streamlit app: one page per file in ``pages/``. Open it with ``workbench app``."""

import streamlit as st

from pages._frame import ICON, explained, pages

st.set_page_config(page_title="RAG workbench", page_icon=ICON, layout="wide")
with explained():
    st.navigation(pages(), position="top").run()
