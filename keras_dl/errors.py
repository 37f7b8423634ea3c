"""The error that the applications show as one line."""


class UserError(ValueError):
    """Bad input: the message is one line that names the file, row or flag, and the mend.

    Applications print it without a traceback and exit with status 2.
    """
