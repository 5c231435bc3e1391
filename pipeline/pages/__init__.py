"""Pages for a browser: the report and the clips of a store. Everything they need is inside them."""
