"""The sound of a clip: cut to the chosen frames, and put beside new pictures."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.filter
from av.error import EOFError as EndOfFile
from av.error import FFmpegError

logger = logging.getLogger(__name__)

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Samples per second that every player takes in AAC."""


@dataclass(frozen=True)
class Sound:
    """A piece of a clip's first sound track."""

    clip: Path
    start: float
    """Seconds after the first picture of the file."""


class SoundTrack:
    """An AAC track in an opened mp4, with the piece of `sound` that lasts `seconds`.

    A track that cannot be decoded is said and left out: the pictures are worth having without it.
    """

    def __init__(self, container: Any, sound: Sound, seconds: float):
        self._container = container
        try:
            self._frames = list(_cut(sound, seconds))
        except (FFmpegError, ValueError) as error:
            logger.warning("The sound of %s is left out: %s.", sound.clip, error)
            self._frames = []
        if self._frames:
            rate, layout = self._frames[0].sample_rate, self._frames[0].layout.name
            self._stream = container.add_stream("aac", rate=rate, layout=layout)

    def write(self) -> None:
        """Encode it; called once, after the pictures are encoded."""
        for frame in [*self._frames, None] if self._frames else []:
            self._container.mux(self._stream.encode(frame))


def _cut(sound: Sound, seconds: float) -> Iterator[av.AudioFrame]:
    """The decoded piece, its times counted from its start."""
    with av.open(str(sound.clip.absolute()), metadata_errors="replace") as container:
        if not container.streams.audio:
            raise ValueError("there is none")
        track = container.streams.audio[0]
        pictures = container.streams.video[0] if container.streams.video else track
        begin = float((pictures.start_time or 0) * (pictures.time_base or 0)) + sound.start
        rate = track.rate if track.rate in RATES else 48000
        layout = "mono" if track.layout.nb_channels == 1 else "stereo"
        graph = av.filter.Graph()
        parts = [
            graph.add_abuffer(template=track),
            graph.add("atrim", f"start={begin}:end={begin + seconds}"),
            graph.add("asetpts", f"PTS-{begin}/TB"),
            graph.add("aformat", f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*parts).configure()
        if begin > 10:
            # Some seconds earlier, since seeking is to the nearest key frame of the pictures.
            container.seek(int((begin - 5) * av.time_base))
        for frame in container.decode(track):
            if frame.time is not None and frame.time > begin + seconds:
                break
            graph.push(frame)
            yield from _pulled(graph)
        graph.push(None)
        yield from _pulled(graph)


def _pulled(graph: av.filter.Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (BlockingIOError, EndOfFile):
            return
