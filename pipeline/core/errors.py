"""The errors, as a tree. Every message is one sentence with the cause and the remedy.

    PipelineError
    ├── SettingsError      an option or environment variable has no usable value
    │   ├── Unknown            nothing has the name that was given: a gallery, a photo
    │   └── UnderWay           a visitor's gallery is at work already
    ├── PhotoError         one photo cannot be read
    │   └── PhotoOutOfReach    its file cannot be read now, such as on a drive that is gone; it may be undamaged
    ├── PhotosError        the gallery's photos are unavailable (no such folder, host out of reach, a broken zip)
    ├── Stopped            a task was asked to end
    ├── StorageError       the folder of the galleries cannot be written
    ├── WeightsError       a network's weights are unavailable, or have a wrong hash
    ├── HubError           a repository of galleries on the Hub cannot be read or written
    ├── ServingError       a running page cannot be started, or refuses a request
    ├── Busy               the server is at its limit; the request may succeed later
    ├── IndexUnavailable   an index outside the gallery (a Milvus server) cannot be reached or used
    └── GalleryError       a gallery on disk cannot be searched
        ├── NotReady           it is still being prepared
        ├── GalleryMissing     it was never built, or its build was cut short
        ├── GalleryTooSmall    it has too few faces for the reduction that was asked for
        ├── GalleryStale       it was built from other photos, weights or code
        └── GalleryDamaged     its files are not the ones its manifest describes

Each door catches them in one place: the page for all its events, and for what it says in place of an answer; the REST
interface, which gives each a status; the MCP tool, Live, and the command line, which prints it and exits with 2.
A photo without a face is not an error but a result (see `types.Encoded`).
"""


class PipelineError(Exception):
    """Base of all errors with a sentence for the user."""


class SettingsError(PipelineError):
    """An option or environment variable has no usable value."""


class Unknown(SettingsError):
    """Nothing here has the name that was given: a gallery, or a photo of one."""


class UnderWay(SettingsError):
    """Something is under way already in a visitor's gallery, which does one thing at a time."""


class PhotoError(PipelineError):
    """One photo cannot be read."""


class PhotoOutOfReach(PhotoError):
    """A photo's file cannot be read now: its drive is gone, or permission is missing."""


class PhotosError(PipelineError):
    """The gallery's photos are unavailable."""


class Stopped(PipelineError):
    """The task was asked to end before it was done."""


class StorageError(PipelineError):
    """The folder that galleries are built in cannot be written."""


class WeightsError(PipelineError):
    """A network's weights are unavailable, or have a wrong hash."""


class HubError(PipelineError):
    """A repository of galleries on the Hub cannot be read or written, or its files do not match their manifest."""


class ServingError(PipelineError):
    """A running page cannot be started, or refused a request."""


class Busy(PipelineError):
    """The server is at its limit; the same request may succeed later."""


class IndexUnavailable(PipelineError):
    """An index outside the gallery's folder, such as a Milvus server, cannot be reached or used."""


class GalleryError(PipelineError):
    """A gallery on disk cannot be searched."""


class NotReady(GalleryError):
    """The gallery is still being prepared; the same request may succeed later."""


class GalleryMissing(GalleryError):
    """The gallery was never built, or its build was cut short."""


class GalleryTooSmall(GalleryError):
    """The gallery has too few faces for the reduction that was asked for."""


class GalleryStale(GalleryError):
    """The gallery was built from other photos, weights or code."""


class GalleryDamaged(GalleryError):
    """The gallery's files are not the ones its manifest describes."""
