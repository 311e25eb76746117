"""Why material is rejected.

The one thing a reader would get wrong: a rejection is no failure. It is counted, by reason, in the
index and on the card; a failure (a crash, a full disk) is tried again by the next run.
"""

REASONS = {
    "missing": "listed, but the video is not there",
    "score": "a score of its own is below the wanted one",
    "unreadable": "damaged, or of an unknown format",
    "short": "fewer frames than a sample needs",
    "cut": "long enough, but not between two cuts",
    "blank": "hardly any contrast",
    "still": "hardly anything moves",
    "fast": "moves too far from frame to frame",
    "geometry": "cameras or depth could not be told",
    "overlap": "no two segments that share enough surface, and not too much",
    "holes too small": "no path with the wanted share of holes: always less",
    "holes too large": "no path with the wanted share of holes: always more",
}
"""All reasons there are."""


class RejectedError(Exception):
    """This window or clip becomes no sample."""

    def __init__(self, reason: str, detail: str = ""):
        assert reason in REASONS, reason
        super().__init__(f"{reason}: {detail or REASONS[reason]}")
        self.reason = reason
