"""Sound of recordings: decoding, clips of fixed length, and windows of long recordings. Knows no folder."""
