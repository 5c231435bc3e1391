"""Where clips come from: an npz, archives and folders of recordings, the demo corpus."""
