"""The one error that the user can fix."""


class InputError(Exception):
    """Something given to the pipeline cannot be used: a file, an array, a setting, the room on a disk.

    The message is one sentence that says what is wrong, what was expected, what was found and what to do next.
    """
