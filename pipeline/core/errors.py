"""What can go wrong, as a tree. Every message is one sentence that names what is wrong and what to do about it.

    PipelineError
    ├── SettingsError      an option or environment variable has no usable value
    ├── PhotoError         one photo cannot be read
    │   └── PhotoOutOfReach    its file cannot be read now: the drive is gone, say; it may be undamaged
    ├── PhotosError        the gallery's photos cannot be had (no such folder, host out of reach, a zip of no use)
    ├── Stopped            somebody asked for a task to end
    ├── StorageError       the folder of the galleries cannot be written
    ├── WeightsError       a network's weights cannot be had, or are not what they claim to be
    ├── HubError           a repository of galleries on the Hub cannot be read or written
    ├── ServingError       a running page does not answer as it should
    ├── Busy               a server has as much to do as it can take
    ├── IndexUnavailable   an index outside the gallery (a Milvus server) cannot be reached or used
    └── GalleryError       a gallery on disk cannot be searched
        ├── GalleryMissing     it was never built, or its build was cut short
        ├── GalleryTooSmall    it has too few faces for the reduction that was asked for
        ├── GalleryStale       it was built from other photos, weights or code
        └── GalleryDamaged     its files are not the ones its manifest describes

Each door catches them in one place: the page for all its events, and for what it says in place of an answer; the tool
for programs, Live, and the command line, which prints the sentence and exits with 2.
"A photo without a face" is not in the tree: it is a result (see `types.Encoded`), not an error.
"""


class PipelineError(Exception):
    """Base of everything this package raises on purpose."""


class SettingsError(PipelineError):
    """An option or environment variable has no usable value."""


class PhotoError(PipelineError):
    """One photo cannot be read."""


class PhotoOutOfReach(PhotoError):
    """A photo's file cannot be read now, whatever is in it: the drive is gone, say, or permission is missing."""


class PhotosError(PipelineError):
    """The gallery's photos cannot be had."""


class Stopped(PipelineError):
    """Somebody asked for this task to end before it was done."""


class StorageError(PipelineError):
    """The folder that galleries are built in cannot be written."""


class WeightsError(PipelineError):
    """A network's weights cannot be had, or are not what they claim to be."""


class HubError(PipelineError):
    """A repository of galleries on the Hub cannot be read or written, or holds something else than it says."""


class ServingError(PipelineError):
    """A running page cannot be started, or refused what was asked of it."""


class Busy(PipelineError):
    """A server has as much to do as it can take; the same request may be answered later."""


class IndexUnavailable(PipelineError):
    """An index that lives outside the gallery, on a server or in a file of its own, cannot be reached or used."""


class GalleryError(PipelineError):
    """A gallery on disk cannot be searched."""


class GalleryMissing(GalleryError):
    """The gallery was never built, or its build was cut short."""


class GalleryTooSmall(GalleryError):
    """The gallery has too few faces for the reduction that was asked for."""


class GalleryStale(GalleryError):
    """The gallery was built from other photos, weights or code."""


class GalleryDamaged(GalleryError):
    """The gallery's files are not the ones its manifest describes."""
