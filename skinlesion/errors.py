"""The one exception for what a user can put right."""


class SkinlesionError(Exception):
    """Something in the input, the options or the machine that the user can put right.

    The message is one clear sentence or two: it names the file or the option and says what to do.
    The command line prints it without a traceback and exits with code 2; the dashboard shows it in the page.
    """
