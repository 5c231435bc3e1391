"""Which clip goes into which set: one scan of every clip, then whole groups to sets, then without marked clips."""
