"""The pages of the app: each reads its state from the address, calls one function of ``workbench``, and draws."""
