"""The one exception for what a user can put right."""


class SkinlesionError(ValueError):
    """Something in the input, the options or the machine that the user can put right.

    The message is one clear sentence or two: it names the file or the option and says what to do.
    It is a ValueError too, so that code which calls the package as a library can catch the usual exception.
    The command line prints it without a traceback and exits with code 2; the dashboard shows it in the page.
    """
